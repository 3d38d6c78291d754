"""Do a model's latents matter? Gold answers under the true protein, under another one, and under none at all.

No recording is needed. Weights can load and change nothing: a bridge that was never trained, or one for other bases.
The answers are then as likely whichever protein stands in the prompt.

Legend: T prompt rows, D decoder width, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from protein2text.errors import ConfigError
from protein2text.models.chat import encode_text
from protein2text.models.protein_to_text import ProteinToText

Z_95 = 1.96
"""Half-width of a 95 % interval in standard errors."""
NEGLIGIBLE_NATS = 1e-3
"""Per token; a smaller mean difference is no difference, however certain."""

KNOWN_PROTEINS = (
    (
        "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQLALGGGPGAGSLQPLALEGSLQKRGIVEQCCTSICSLYQLENYCN",
        "It is insulin, a hormone that lowers blood glucose.",
    ),
    (
        "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
        "It is ubiquitin, which is attached to proteins and marks them for degradation.",
    ),
    (
        "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPCSALLSSDITASVNCAKKIVSDGNGMNAWVAWRNRCKGTDVQAWIRGCRL",
        "It is lysozyme, an enzyme that breaks down the cell walls of bacteria.",
    ),
    (
        "VLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKLRVDPVNFKLLSHCLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR",
        "It is a subunit of hemoglobin and carries oxygen in the blood.",
    ),
    (
        "ADQLTEEQIAEFKEAFSLFDKDGDGTITTKELGTVMRSLGQNPTEAELQDMINEVDADGNGTIDFPEFLTMMARKMKDTDSEEEIREAFRVFDKDGNGYISAAELRHVMTNLGEKLTDEEVDEMIREADIDGDGQVNYEEFVQMMTAK",
        "It is calmodulin, which binds calcium and passes its signal on to other proteins.",
    ),
)  # fmt: skip
KNOWN_QUESTION = "What is the function of this protein?"


@dataclass(frozen=True)
class GoldAnswer:
    """A question about a sequence, and its answer."""

    sequence: str
    question: str
    answer: str


@dataclass(frozen=True)
class Difference:
    """How much likelier answers are under the true protein, nats per token, with a paired 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def is_gain(self) -> bool:
        """Whether the true protein helps, and not by a hair."""
        return self.low > 0 and self.mean > NEGLIGIBLE_NATS


@dataclass(frozen=True)
class SelfCheck:
    """Mean log-likelihoods of gold answers, nats per token, and what the latents add."""

    num_answers: int
    true: float
    swapped: float
    zeroed: float
    over_swapped: Difference
    over_zeroed: Difference

    @property
    def verdict(self) -> str:
        """What the figures mean, in words."""
        if self.over_swapped.is_gain:
            return "the latents matter: answers are likelier under their own protein than under another"
        largest = max(abs(self.over_swapped.mean), abs(self.over_zeroed.mean))
        if largest <= NEGLIGIBLE_NATS:
            return (
                "warning: the weights load and change nothing; answers are as likely with another protein or none. "
                "Check that the bridge is trained, and that encoder and decoder are the ones it was trained on"
            )
        return (
            "warning: answers are not surely likelier under their own protein than under another; the latents change "
            f"them, but say little of this protein. {self.num_answers} answers were judged; more narrow the interval"
        )


def known_answers() -> list[GoldAnswer]:
    """A few textbook proteins, for a model that nobody has questions for yet."""
    return [GoldAnswer(sequence, KNOWN_QUESTION, answer) for sequence, answer in KNOWN_PROTEINS]


@torch.inference_mode()
def selfcheck(model: ProteinToText, golds: Sequence[GoldAnswer]) -> SelfCheck:
    """Compare the log-likelihood of gold answers with true, swapped and zeroed latents.

    Args:
        golds: of at least two proteins; each is swapped for the next other sequence.

    Raises:
        ConfigError: fewer than two answers, or all about one sequence.
    """
    if len({gold.sequence for gold in golds}) < 2:
        raise ConfigError("selfcheck", "QA.json", "needs answers about at least 2 different proteins to swap them")
    rows = []
    for number, gold in enumerate(golds):
        ahead = (*golds[number + 1 :], *golds[:number])
        other = next(candidate.sequence for candidate in ahead if candidate.sequence != gold.sequence)
        bank = model.latent_bank({gold.sequence, other})
        true, swapped = bank[gold.sequence], bank[other]
        rows.append([log_likelihood(model, gold, rows_D) for rows_D in (true, swapped, torch.zeros_like(true))])
    table = torch.tensor(rows, dtype=torch.float64)
    means = table.mean(0).tolist()
    return SelfCheck(
        len(golds), means[0], means[1], means[2],
        over_swapped=paired(table[:, 0] - table[:, 1]), over_zeroed=paired(table[:, 0] - table[:, 2]),
    )  # fmt: skip


def log_likelihood(model: ProteinToText, gold: GoldAnswer, rows_KD: Tensor) -> float:
    """Mean log-probability of an answer's tokens, nats, with these rows in the protein's place."""
    prompt_TD = model.embed_prompt(model.encode_question(gold.question, 1), [rows_KD])
    ids = torch.tensor(encode_text(model.tokenizer, gold.answer), device=model.device)
    inputs = torch.cat([prompt_TD, model.decoder.embed(ids[:-1])])
    logits = model.decoder.language_model(inputs_embeds=inputs[None], logits_to_keep=len(ids)).logits[0]
    return -float(F.cross_entropy(logits.float(), ids))


def paired(differences: Tensor) -> Difference:
    """Mean of paired differences with its 95 % interval."""
    mean = float(differences.mean())
    margin = Z_95 * float(differences.std()) / math.sqrt(len(differences))
    return Difference(mean, mean - margin, mean + margin)
