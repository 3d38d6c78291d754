"""Questions and answers from literature: generate what is missing, then check all of it into a corpus."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.config import read_mapping
from protein2text.data.corpus_writer import SHARD_BYTES
from protein2text.data.qa.corpus import assemble
from protein2text.data.qa.generate import Progress, generate, generation_header, literature_mark
from protein2text.data.qa.generated_folder import MIN_INTERVAL_S, GeneratedFolder
from protein2text.data.qa.generator_config import GeneratorConfig, GeneratorScaling
from protein2text.data.qa.passage_folder import PassageFolder
from protein2text.data.qa.rules import QaRules
from protein2text.data.records import corpus_checksum, load_card
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile
from protein2text.outputs import naming_a_full_disk, refuse_url
from protein2text.resources import ray_session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QaSummary:
    """What a run made; ``rows`` = ``records`` + ``rejected``, always."""

    output: str
    passages: int
    generated: int
    """Passages that were taken up this time."""
    rows: int
    """Pairs, and passages for which there is a reason instead."""
    records: int
    rejected: int
    reasons: dict[str, int]
    proteins: int
    note: str | None
    """Set when nothing was accepted."""
    checksum: str
    seconds: float
    already_done: bool
    """The folder held the finished corpus of the same texts and rules, and nothing was done."""


def make_qa(
    literature: str | Path,
    output: str | Path,
    config: GeneratorConfig | None,
    *,
    rules: QaRules = QaRules(),
    scaling: GeneratorScaling = GeneratorScaling(),
    min_interval_s: float = MIN_INTERVAL_S,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> QaSummary:
    """Generate, check and write; the same call goes on where a killed one stopped.

    Texts are generated once. Under other rules, or after failed passages succeeded, they are checked anew.

    Args:
        literature: folder that `data literature` finished.
        output: corpus folder.
        config: the generator; None where every passage was taken up before, to check without it.
        rules: limits of the checks.
        scaling: how many generators run, on the Ray that is connected, that of RAY_ADDRESS, or a local one.
        min_interval_s: seconds of work that a kill may cost, at least.
        shard_bytes: Arrow bytes of a shard, about.
        progress: told both steps.

    Raises:
        MissingFile: no finished literature.
        ConfigError: the output folder holds something else or is in use, or passages have no text and no generator
            is given.
        ResumeMismatch: the folder was begun with other literature, another generator, prompt or decoding.
        ResourcesUnavailable: the cluster can never hold the generators, or has too few CPUs to check anything.
        ServiceError: the generator's service serves nothing.
        MissingWeights: the generator is not there, or has no chat template.
        CorruptCheckpoint: a shard that cannot be read, or a finished corpus that was altered.
    """
    started = time.monotonic()
    folder = Path(output).resolve()
    refuse_url(folder)
    passages = PassageFolder(literature)
    with naming_a_full_disk(folder), GeneratedFolder(folder, min_interval_s=min_interval_s) as texts:
        num_pending = _pending(passages, texts, config, rules)
        if not num_pending and _is_current(folder, texts, rules):
            logger.info("%s holds the corpus of these texts and rules already; nothing to do", folder)
            return _summary(folder, load_card(folder), 0, time.monotonic() - started, already_done=True)
        with ray_session(scaling):
            if config is not None and num_pending:
                generate(passages, texts, config, rules, scaling, progress)
            card = assemble(passages, texts, rules, shard_bytes=shard_bytes, progress=progress)
    return _summary(folder, card, num_pending, time.monotonic() - started, already_done=False)


def load_rules(path: str | Path | None) -> QaRules:
    """The default rules with a YAML file's values in place of theirs.

    Raises:
        MissingFile: no such file.
        ConfigError: broken YAML, an unknown key (the nearest known one is named) or a value that does not fit.
    """
    if path is None:
        return QaRules()
    if not Path(path).is_file():
        raise MissingFile(str(path), "rules of the checks", "Check the path, or leave --rules out.")
    return QaRules.parse(read_mapping(Path(path), "rules are a mapping such as `min_words: 4`"), path=str(path))


def _pending(passages: PassageFolder, texts: GeneratedFolder, config: GeneratorConfig | None, rules: QaRules) -> int:
    """How many passages the generator is to take up: those without a text, failed ones among them."""
    done = texts.ids("generated")
    if config is not None:
        texts.begin(generation_header(passages, config, rules))
        return len(passages.place) - len(done)
    if texts.header is not None:
        texts.require({"literature": literature_mark(passages), "licences": list(rules.licences)})
    untouched = len(passages.place) - len(done | texts.ids("failed"))
    if untouched or texts.header is None:
        message = f"{untouched} of {len(passages.place)} passages were never given to a generator; name one"
        raise ConfigError("data qa", "generator", message)
    return 0


def _is_current(folder: Path, texts: GeneratedFolder, rules: QaRules) -> bool:
    """Whether the folder holds the finished corpus of its texts under these rules.

    Raises:
        CorruptCheckpoint: it does, and it was altered.
    """
    if not (folder / "card.json").is_file():
        return False
    card = load_card(folder)
    if card["rules"] != rules.model_dump(mode="json") or card["generation"] != texts.header:
        return False
    if corpus_checksum(folder) != card["checksum"]:
        remedy = "Remove card.json; the same command then checks the texts again."
        raise CorruptCheckpoint(str(folder), "records", "the shards differ from the card's checksum", remedy)
    return True


def _summary(folder: Path, card: dict[str, Any], generated: int, seconds: float, *, already_done: bool) -> QaSummary:
    counts = card["counts"]
    return QaSummary(
        output=str(folder),
        passages=counts["passages"],
        generated=generated,
        rows=counts["rows"],
        records=counts["records"],
        rejected=counts["rejected"],
        reasons=card["reasons"],
        proteins=counts["proteins"],
        note=card["note"],
        checksum=card["checksum"],
        seconds=seconds,
        already_done=already_done,
    )
