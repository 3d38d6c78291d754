"""What a model has seen of its test: leaks that its training was stamped with, and test proteins it was trained on."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from protein2text.data.trained_on import is_in, read_trained_on
from protein2text.proteins import Protein, entry_of, is_one_of

SHOWN_PROTEINS = 5


@dataclass(frozen=True)
class Exposure:
    """For the report. ``num_seen`` is None where the model's folder does not record what it was trained on."""

    leaks: tuple[str, ...]
    num_proteins: int
    num_seen: int | None
    first_seen: tuple[str, ...]

    def notices(self) -> list[str]:
        """What a reader must know before the scores."""
        told = [f"This model was trained with a leak: {leak}." for leak in self.leaks]
        if self.num_seen is None:
            told.append(
                "The model's folder does not record which proteins it was trained on; whether it has seen these is not "
                "known."
            )
        elif self.num_seen:
            names = ", ".join(self.first_seen) + (", …" if self.num_seen > len(self.first_seen) else "")
            told.append(
                f"The model was trained on {self.num_seen} of the {self.num_proteins} test proteins ({names}): scores "
                f"on them show recall."
            )
        return told


def exposure(folder: Path, proteins: Iterable[Protein]) -> Exposure:
    """Hold test proteins against what a model folder says of its training."""
    about = folder / "run.json"
    leaks = json.loads(about.read_text(encoding="utf-8")).get("leaks", []) if about.is_file() else []
    tested = {protein.checksum: protein.accession for protein in proteins}
    trained_on = read_trained_on(folder)
    if trained_on is None:
        return Exposure(tuple(leaks), len(tested), None, ())
    seen = sorted(accession for checksum, accession in tested.items() if is_in(checksum, trained_on))
    return Exposure(tuple(leaks), len(tested), len(seen), tuple(seen[:SHOWN_PROTEINS]))


@dataclass(frozen=True)
class Held:
    """What an index of neighbours holds of the test, for the report."""

    num_proteins: int
    num_held: int
    """Test proteins whose own entry it holds; each was left out of its own answers."""
    first_held: tuple[str, ...]
    num_twins: int
    """Test proteins whose very sequence it holds under another accession, which stayed in."""

    def notices(self) -> list[str]:
        """What a reader must know before the scores."""
        told = []
        if self.num_held:
            names = ", ".join(self.first_held) + (", …" if self.num_held > len(self.first_held) else "")
            told.append(
                f"The index holds {self.num_held} of the {self.num_proteins} test proteins ({names}): each one's own "
                f"entry was left out of its answers, those of the others stayed in."
            )
        if self.num_twins:
            told.append(
                f"For {self.num_twins} of the {self.num_proteins} test proteins the index holds the same sequence "
                f"under another accession: scores on them show recall."
            )
        return told


def own_entries(accession: str) -> frozenset[str]:
    """Accessions under which a protein may be its own evidence: its own, and that of its entry, which stands for every
    isoform of it (``Query.without``)."""
    return frozenset({accession, entry_of(accession)})


def held(entries: Iterable[tuple[str, str]], proteins: Iterable[Protein]) -> Held:
    """Hold test proteins against accession and checksum of every entry of an index."""
    tested = {protein.accession: protein.checksum for protein in proteins}
    wanted = frozenset(entry for accession in tested for entry in own_entries(accession))
    checksums = set(tested.values())
    found: set[str] = set()
    holders: dict[str, set[str]] = defaultdict(set)
    for accession, checksum in entries:
        if is_one_of(accession, wanted):
            found |= own_entries(accession)
        if checksum in checksums:
            holders[checksum].add(accession)
    own = sorted(accession for accession in tested if own_entries(accession) & found)
    num_twins = sum(
        any(not is_one_of(holder, own_entries(accession)) for holder in holders[checksum])
        for accession, checksum in tested.items()
    )
    return Held(len(tested), len(own), tuple(own[:SHOWN_PROTEINS]), num_twins)
