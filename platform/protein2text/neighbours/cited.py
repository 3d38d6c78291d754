"""An answer from homologues: facts, each with the entries that state it, and the parts that only a domain covers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from protein2text.neighbours.homologues import Homologue

if TYPE_CHECKING:
    from protein2text.neighbours.calibration import Frequency
    from protein2text.neighbours.facts import Fact

Status = Literal["answered", "no_homologue", "outside_grammar", "no_such_fact"]
"""``no_such_fact``: homologues were found, and none of them states what was asked."""


@dataclass(frozen=True, slots=True)
class Source:
    """An entry that states a fact, and how it relates to the query."""

    accession: str
    name: str
    organism: str
    release: str
    licence: str
    homologue: Homologue
    facts: tuple["Fact", ...]
    """As this entry says it; several where it says so of several parts of itself."""


@dataclass(frozen=True, slots=True)
class CitedFact:
    """A fact, once, with every homologue that states it, the best first."""

    fact: "Fact"
    """In the words of the best source."""
    sources: tuple[Source, ...]
    frequency: "Frequency | None" = None
    """How often such a fact held when it was measured; None: not calibrated."""
    contradicts: tuple[str, ...] = ()
    """Values of other facts of this answer that cannot hold with it, such as another four-digit EC number."""


@dataclass(frozen=True, slots=True)
class DomainHit:
    """A characterised protein that shares a part with the query; it says nothing about the whole."""

    accession: str
    name: str
    organism: str
    release: str
    homologue: Homologue
    domains: tuple["Fact", ...] = ()
    """Domains of that protein which lie in the shared part; positions are its own."""


@dataclass(frozen=True, slots=True)
class NeighbourAnswer:
    """What the index says to one question about one protein."""

    text: str
    status: Status
    facts: tuple[CitedFact, ...]
    domain_hits: tuple[DomainHit, ...]
    release: str
