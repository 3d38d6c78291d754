"""Leave-one-out cases: proteins of an index asked as if they were not in it, and which of the cited facts are theirs.

What is compared with what:

- A protein is asked with its own accession left out. Entries of the same sequence under other accessions stay in, since
  a user's protein may be in the index too; they make the identity bin of 100 %, so that they flatter no other bin.
- For each kind of fact the selection is that of an answer. Every fact that it would cite is one case, placed by the
  identity and coverage of its closest source. It agrees when the protein's own entry states a fact of the same term, or
  of the same wording. GO terms are compared as they are, without their ancestors; kinds of free text are not compared.
- An EC number of k stated digits makes a case at each level up to k. At each level it agrees when one of the protein's
  own numbers begins with the same digits; a protein without a number of so many digits makes no case there.
- A protein that states nothing of a kind makes no case of that kind: silence is not denial.
- Nor does a protein all of whose facts of a kind were themselves transferred: they may come from the very homologues
  that would be found right. The other way round it cannot be seen: a homologue's fact may have been transferred from
  the protein that is left out. Such facts say of themselves that they were transferred.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from protein2text.neighbours.citing import FREE_TEXT, cite
from protein2text.neighbours.facts import FACT_KINDS, Fact
from protein2text.neighbours.homologues import Homologue, stream_homologues

if TYPE_CHECKING:
    from protein2text.neighbours.entries import Characterised
    from protein2text.neighbours.index_folder import NeighbourIndex

EC_DIGITS = 4
COMPARED = tuple(kind for kind in FACT_KINDS if kind not in FREE_TEXT)
"""Kinds whose facts can be told equal or not."""
_PROTEINS_AT_ONCE = 250
"""Whose homologues' entries are in memory together: some hundreds of megabytes at most."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fact that an answer would cite for a protein left out, and whether it is the protein's own."""

    accession: str
    kind: str
    level: int | None
    """Digits compared, of EC numbers."""
    identity: float
    coverage: float
    """The smaller of the two."""
    agrees: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """Which proteins were left out in turn."""

    seed: int
    max_entries: int
    num_eligible: int
    """Proteins of the index with a fact that can be compared and was not itself transferred."""
    num_drawn: int


def draw(index: "NeighbourIndex", *, max_entries: int, seed: int) -> tuple[Draw, list["Characterised"]]:
    """The proteins to leave out in turn: all that are eligible, or so many of them.

    An entry is drawn for its accession alone: most of a draw stays when the index is updated.
    """
    lowest: list[tuple[int, str, Characterised]] = []
    num_eligible = 0
    for entry in index.stream():
        if not any(_known(entry, kind) for kind in COMPARED):
            continue
        num_eligible += 1
        number = int.from_bytes(hashlib.sha256(f"{seed}/{entry.accession}".encode()).digest()[:8])
        if len(lowest) < max_entries:
            heapq.heappush(lowest, (-number, entry.accession, entry))
        elif -number > lowest[0][0]:
            heapq.heapreplace(lowest, (-number, entry.accession, entry))
    drawn = sorted((entry for _, _, entry in lowest), key=lambda entry: entry.accession)
    return Draw(seed, max_entries, num_eligible, len(drawn)), drawn


def cases(index: "NeighbourIndex", proteins: Sequence["Characterised"]) -> Iterator[Case]:
    """The facts that an answer would cite for each of some entries of the index, were it not in there.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    sequences = list(dict.fromkeys(entry.sequence for entry in proteins))
    owners: dict[str, list[Characterised]] = {sequence: [] for sequence in sequences}
    for entry in proteins:
        owners[entry.sequence].append(entry)
    stream = stream_homologues(index, sequences)
    while found := list(islice(stream, _PROTEINS_AT_ONCE)):
        entries = index.entries({homologue.accession for _, homologues in found for homologue in homologues})
        for sequence, homologues in found:
            for entry in owners[sequence]:
                others = [homologue for homologue in homologues if homologue.accession != entry.accession]
                yield from _of_protein(entry, others, entries)


def _of_protein(
    entry: "Characterised", homologues: list[Homologue], entries: dict[str, "Characterised"]
) -> Iterator[Case]:
    for kind in COMPARED:
        own = _known(entry, kind)
        for cited in cite(kind, homologues, entries) if own else ():
            place = cited.nearest.identity, cited.nearest.coverage
            if kind == "ec":
                for level, agrees in agreement_by_digits(cited.fact.value, [fact.value for fact in own]):
                    yield Case(entry.accession, kind, level, *place, agrees)
            else:
                yield Case(entry.accession, kind, None, *place, any(_same(cited.fact, fact) for fact in own))


def _known(entry: "Characterised", kind: str) -> list[Fact]:
    """An entry's facts of a kind, unless all of them were transferred from other proteins."""
    facts = [fact for fact in entry.facts if fact.kind == kind]
    return [] if all(fact.is_transferred for fact in facts) else facts


def _same(one: Fact, other: Fact) -> bool:
    if one.term is not None and one.term == other.term:
        return True
    return _words(one) == _words(other)


def _words(fact: Fact) -> str:
    return " ".join(fact.value.casefold().split())


def agreement_by_digits(number: str, own: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """Each level at which an EC number can be compared with a protein's own ones, and whether it agrees there."""
    for level in range(1, digits(number) + 1):
        known = {first_digits(other, level) for other in own if digits(other) >= level}
        if known:
            yield level, first_digits(number, level) in known


def digits(number: str) -> int:
    """How many digits an EC number states: 3 of ``3.2.1.-``."""
    return sum(part != "-" for part in number.split("."))


def first_digits(number: str, level: int) -> str:
    """An EC number cut to so many digits."""
    return ".".join(number.split(".")[:level])
