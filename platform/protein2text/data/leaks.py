"""What a test protein must not share with training: its sequence, its accession, its text.

Every kind of split promises this much; ``by_cluster`` promises a bound on the measured identity as well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protein2text.data.records import iter_local
from protein2text.data.split_folder import Split
from protein2text.errors import LeakError

MIN_TEXT_WORDS = 8
"""An answer of fewer words ("Yes, it is an enzyme.") may be true of many proteins; a longer one tells one apart."""

COLUMNS = ("record_id", "proteins", "text", "messages", "facts")
"""What `texts_of` and `overlaps` need of a record."""


@dataclass(frozen=True)
class Overlaps:
    """How much of test also stands in training or validation; a leak when any is above zero."""

    sequences: int
    accessions: int
    texts: int

    def as_dict(self) -> dict[str, int]:
        """For a card."""
        return asdict(self)


def texts_of(record: Mapping[str, Any]) -> list[str]:
    """Texts by which a model could recognize this protein, normalized for comparison.

    A description counts, and so does a long free answer. An answer about known facts does not: the same fact holds
    for many proteins, and naming it is the task.
    """
    texts = [record["text"]] if record["text"] is not None else []
    if record["messages"] and record["facts"] is None:
        texts += [turn["content"] for turn in record["messages"] if turn["role"] == "assistant"]
        texts = [text for text in texts if len(text.split()) >= MIN_TEXT_WORDS]
    return [" ".join(text.casefold().split()).rstrip(" .") for text in texts]


def overlaps(records: Iterable[Mapping[str, Any]], split: Mapping[str, str]) -> Overlaps:
    """Count test sequences, accessions and texts that also stand outside test.

    Args:
        records: rows with the fields of ``COLUMNS``; those whose proteins lie in several splits belong to none.
        split: accession to split.
    """
    sides: dict[str, dict[str, set[bool]]] = {kind: defaultdict(set) for kind in ("sequences", "accessions", "texts")}
    for record in records:
        names = {split[protein["accession"]] for protein in record["proteins"]}
        if len(names) == 1:
            in_test = names == {"test"}
            for protein in record["proteins"]:
                sides["sequences"][protein["checksum"]].add(in_test)
                sides["accessions"][protein["accession"]].add(in_test)
            for text in texts_of(record):
                sides["texts"][text].add(in_test)
    return Overlaps(**{kind: sum(len(found) == 2 for found in seen.values()) for kind, seen in sides.items()})


def check_leaks(corpus: Sequence[str], split: Split) -> Overlaps:
    """Check a split against the corpora that a run is about to train on.

    Raises:
        LeakError: a protein that the split does not know, an overlap of any kind, or, for ``by_cluster``, a test
            protein measured to be as similar to a training protein as the split's threshold.
    """
    rows = iter_local(corpus, COLUMNS)
    unknown = Counter(
        protein["accession"] for row in rows for protein in row["proteins"] if protein["accession"] not in split
    )
    if unknown:
        first = min(unknown)
        problem = f"{len(unknown)} proteins of {', '.join(corpus)} are not in it, {first} among them"
        raise LeakError(split.folder, problem, "Run `protein2text data split` over all corpora of the run together.")
    found = overlaps(rows, split.by_accession)
    if any(found.as_dict().values()):
        raise LeakError(
            split.folder,
            f"test shares {found.sequences} sequences, {found.accessions} accessions and {found.texts} texts with "
            "training or validation",
            "Run `protein2text data split` over all corpora of the run together.",
        )
    limit, measured = split.card["min_identity"], split.card["max_identity"]
    if split.kind == "by_cluster" and measured is not None and measured >= limit:
        raise LeakError(
            split.folder,
            f"a test protein is {measured:.0%} identical to a training protein, the promise is below {limit:.0%}",
            "Make the split again, or declare it by_member, which claims recall only.",
        )
    return found
