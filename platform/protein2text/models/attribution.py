"""Which residues an answer rests on: gradient times residue state, and the resampler's attention beside it.

The score of residue r is ``sum over e of (d log p / d x[r, e]) * x[r, e]``, with x the residue states and p the
probability of the answer's tokens given prompt and protein: by how many nats, to first order, the answer would lose if
that state were set to zero. The scores of all residues and of the end add up to the derivative of ``log p`` as all
states grow by one common factor. They say what this model used, not what the protein does.

The resampler normalizes each state before anything else, so that a state's length hardly matters to it, and a score is
small however much its residue does. The centred score therefore asks for the loss if the state were the protein's mean:
``(x[r] - mean of x)`` in place of ``x[r]``.

Attention weights say where latents looked, not what of it reached the answer; they are here as a comparison.

Legend: R residues, S = R + 1 residue states, K latents, E encoder width, H heads, C channels per head, M answer tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from protein2text.errors import RecordError
from protein2text.models.asking import ProteinRead, describe, residues_of
from protein2text.models.batches import ProteinBatch, TextBatch, pack_proteins, pack_text
from protein2text.models.bridge import CrossAttention, Resampler
from protein2text.models.chat import IGNORED, Example, encode_text

if TYPE_CHECKING:
    from protein2text.models.protein_to_text import ProteinToText


@dataclass(frozen=True)
class Attribution:
    """What an answer rests on. Tensors lie on the CPU."""

    sequence: str
    question: str
    answer: str
    log_probability: float
    """Of the answer's tokens, without its end, nats."""
    scores_R: Tensor
    """``(R,)`` gradient times residue state; positive where the residue speaks for the answer."""
    centred_scores_R: Tensor
    """``(R,)`` gradient times what sets the residue's state apart from the mean state of its protein."""
    end_score: float
    """The same for the state of the protein's end."""
    attention_LHKN: Tensor | None
    """``(layers, H, K, N)`` weights of the resampler, N = residues, end, then the K latents; rows add up to 1. None
    where the bridge has no resampler."""
    protein: ProteinRead

    def residue_attention(self) -> Tensor | None:
        """``(R,)`` mean weight that a residue gets over layers, heads and latents; the rest goes to end and latents."""
        if self.attention_LHKN is None:
            return None
        return self.attention_LHKN.mean(dim=(0, 1, 2))[: len(self.sequence)]


def attribute(model: "ProteinToText", protein: str, question: str, answer: str | None = None) -> Attribution:
    """Attribute an answer to the residues of one protein.

    Args:
        protein: a sequence or a FASTA record.
        answer: whose log-probability is attributed; by default the model's own greedy answer.

    Raises:
        RecordError: an unreadable protein, or an answer without a token.
    """
    sequence = residues_of(protein, model.reading, "protein")
    prompt = model.encode_question(question, 1)
    with _evaluating(model):
        greedy = model.decoding.model_copy(update={"temperature": 0.0})
        given = None if answer is None else encode_text(model.tokenizer, answer)
        ids = model.answer_ids([prompt], [[sequence]], greedy)[0] if given is None else given
        if not ids:
            remedy = "Give an answer to attribute."
            raise RecordError("answer", "tokens", "0 tokens", "an answer has at least 1", remedy)
        proteins, text = _pack(model, sequence, prompt, ids)
        states_SE = model.encoder(proteins).detach().requires_grad_()
        with torch.enable_grad():
            log_probability = answer_log_probability(model, states_SE, proteins, text)
            (gradient_SE,) = torch.autograd.grad(log_probability, states_SE)
        wide = torch.promote_types(states_SE.dtype, torch.float32)
        gradient_SE, fixed_SE = gradient_SE.to(wide), states_SE.detach().to(wide)
        scores_S = (gradient_SE * fixed_SE).sum(-1).cpu()
        centred_S = (gradient_SE * (fixed_SE - fixed_SE.mean(0))).sum(-1).cpu()
        resampler = model.bridge.mm_resampler
        attention = None if resampler is None else resampler_attention(resampler, states_SE.detach(), proteins).cpu()
    return Attribution(
        sequence, question, model.decoder.text_of(ids) if answer is None else answer, log_probability.item(),
        scores_S[:-1], centred_S[:-1], scores_S[-1].item(), attention, describe(model.reading, len(sequence)),
    )  # fmt: skip


def answer_log_probability(
    model: "ProteinToText", states_SE: Tensor, proteins: ProteinBatch, text: TextBatch
) -> Tensor:
    """Log-probability of the supervised tokens from residue states, nats, a scalar with a gradient."""
    inputs_TD = model.splice(model.bridge(states_SE, proteins), text)
    logits_MV = model.decoder.logits(inputs_TD, text)
    wide = torch.promote_types(logits_MV.dtype, torch.float32)
    log_probabilities_MV = logits_MV.to(wide).log_softmax(-1)
    return log_probabilities_MV.gather(1, text.labels_M[:, None]).sum()


@torch.no_grad()
def resampler_attention(resampler: Resampler, states_SE: Tensor, proteins: ProteinBatch) -> Tensor:
    """Weights of every latent, head and layer over one protein's states and the latents.

    Args:
        states_SE: ``(S, E)`` of a batch of one protein.

    Returns:
        ``(layers, H, K, S + K)``, each row adding up to 1.
    """
    assert len(proteins.lengths) == 1, "rows of several proteins have different lengths"
    latents_1KE = resampler.latents[None]
    weights = []
    for layer, keys_values_SF in zip(resampler.layers, resampler.keys_values(states_SE), strict=True):
        attention, feed_forward = cast(nn.ModuleList, layer)
        weights.append(_attention_weights(cast(CrossAttention, attention), keys_values_SF, latents_1KE[0]))
        latents_1KE = latents_1KE + attention(keys_values_SF, latents_1KE, proteins)
        latents_1KE = latents_1KE + feed_forward(latents_1KE)
    return torch.stack(weights)


def _attention_weights(attention: CrossAttention, keys_values_SF: Tensor, latents_KE: Tensor) -> Tensor:
    """One layer's softmax, ``(H, K, S + K)``: residue states first, then latents."""
    normed_KE = attention.norm_latents(latents_KE)
    heads = (attention.num_heads, attention.head_dim)
    keys_NHC = torch.cat((keys_values_SF, attention.to_kv(normed_KE))).view(-1, 2, *heads)[:, 0]
    queries_KHC = attention.to_q(normed_KE).unflatten(-1, heads)
    scores_HKN = torch.einsum("khc,nhc->hkn", queries_KHC, keys_NHC) * attention.head_dim**-0.5
    weights_HKN: Tensor = scores_HKN.to(torch.promote_types(scores_HKN.dtype, torch.float32)).softmax(-1)
    return weights_HKN


def _pack(
    model: "ProteinToText", sequence: str, prompt: Sequence[int], answer: Sequence[int]
) -> tuple[ProteinBatch, TextBatch]:
    example = Example([*prompt, *answer], [IGNORED] * len(prompt) + list(answer))
    text = pack_text([example], [[0]], [model.config.bridge.num_rows(len(sequence))])
    return pack_proteins([sequence], model.reading).to(model.device), text.to(model.device)


@contextmanager
def _evaluating(model: "ProteinToText") -> Iterator[None]:
    """Dropout off, and back to what it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
