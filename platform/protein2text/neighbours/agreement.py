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
- Of a large index each kind has a random draw of the proteins that can make a case of it; the draws overlap as far as
  they can, and no kind takes the room of one that fewer proteins state.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protein2text.neighbours.citing import FREE_TEXT, cite, words
from protein2text.neighbours.facts import FACT_KINDS, Fact
from protein2text.neighbours.homologues import Homologue, stream_with_entries

if TYPE_CHECKING:
    from protein2text.neighbours.entries import Characterised
    from protein2text.neighbours.index_folder import NeighbourIndex

EC_DIGITS = 4
COMPARED = tuple(kind for kind in FACT_KINDS if kind not in FREE_TEXT)
"""Kinds whose facts can be told equal or not."""


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
    """How many proteins were left out in turn."""

    seed: int
    max_entries: int
    num_drawn: int
    eligible: dict[str, int]
    """By kind: proteins of the index that state such facts, not all of them transferred."""
    drawn: dict[str, int]
    """By kind: those of them that were left out."""


Chosen = tuple["Characterised", frozenset[str]]
"""A protein to leave out, and the kinds of facts for which it was drawn."""


def draw(index: "NeighbourIndex", *, max_entries: int, seed: int) -> tuple[Draw, list[Chosen]]:
    """The proteins to leave out in turn: all that can make a case, or equally many for each kind.

    A protein's place in the draw depends on seed and accession alone: most of a draw stays when an index is updated.
    """
    lowest: dict[str, list[tuple[int, str]]] = {kind: [] for kind in COMPARED}
    eligible = dict.fromkeys(COMPARED, 0)
    for entry in index.stream():
        kinds = {fact.kind for fact in entry.facts if not fact.is_transferred}.intersection(COMPARED)
        number = -int.from_bytes(hashlib.sha256(f"{seed}/{entry.accession}".encode()).digest()[:8])
        for kind in kinds:
            eligible[kind] += 1
            change = heapq.heappush if len(lowest[kind]) < max_entries else heapq.heappushpop
            change(lowest[kind], (number, entry.accession))
    chosen = _fill(
        {kind: [name for _, name in sorted(found, reverse=True)] for kind, found in lowest.items()}, max_entries
    )
    entries = index.entries(sorted(chosen))
    drawn = {kind: sum(kind in kinds for kinds in chosen.values()) for kind in COMPARED}
    proteins = [(entry, frozenset(chosen[name])) for name, entry in entries.items()]
    return Draw(seed, max_entries, len(proteins), eligible, drawn), proteins


def _fill(orders: dict[str, list[str]], room: int) -> dict[str, set[str]]:
    """Names and the kinds they are for: the first of every order, the second, and so on, until the room is full."""
    chosen: dict[str, set[str]] = {}
    open_kinds = set(orders)
    for place in range(max(map(len, orders.values()))):
        for kind, names in orders.items():
            if kind not in open_kinds or place >= len(names):
                continue
            if names[place] not in chosen and len(chosen) >= room:
                open_kinds.discard(kind)  # what follows could only be chosen for lying in another kind's draw
            else:
                chosen.setdefault(names[place], set()).add(kind)
    return chosen


def cases(index: "NeighbourIndex", proteins: Sequence[Chosen]) -> Iterator[Case]:
    """The facts that an answer would cite for each of some proteins of the index, were it not in there.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    owners: dict[str, list[Chosen]] = {}
    for entry, kinds in proteins:
        owners.setdefault(entry.sequence, []).append((entry, kinds))
    for sequence, homologues, entries in stream_with_entries(index, list(owners)):
        for entry, kinds in owners[sequence]:
            others = [homologue for homologue in homologues if homologue.accession != entry.accession]
            for kind in sorted(kinds):
                yield from _of_kind(kind, entry, others, entries)


def _of_kind(
    kind: str, entry: "Characterised", homologues: list[Homologue], entries: dict[str, "Characterised"]
) -> Iterator[Case]:
    own = [fact for fact in entry.facts if fact.kind == kind]
    for cited in cite(kind, homologues, entries):
        for level, agrees in compared(cited.fact, own):
            yield Case(entry.accession, kind, level, cited.nearest.identity, cited.nearest.coverage, agrees)


def compared(fact: Fact, own: Sequence[Fact]) -> Iterator[tuple[int | None, bool]]:
    """Whether a fact is among a protein's own ones of its kind; an EC number at each level that can be compared."""
    if fact.kind == "ec":
        yield from agreement_by_digits(fact.value, [each.value for each in own])
    else:
        yield None, any(_same(fact, each) for each in own)


def _same(one: Fact, other: Fact) -> bool:
    if one.term is not None and one.term == other.term:
        return True
    return words(one) == words(other)


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
