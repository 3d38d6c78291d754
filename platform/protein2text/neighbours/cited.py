"""An answer from homologues: facts, each with the entries that state it, and the parts that only a domain covers."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import Homologue

if TYPE_CHECKING:
    from protein2text.neighbours.calibration import Frequency

Status = Literal["answered", "no_homologue", "outside_grammar", "no_such_fact"]
"""``no_such_fact``: homologues were found, and none of them states what was asked."""
Evidence = Literal["experimental", "transferred", "other", "none stated"]
"""``transferred``: the source itself concluded it from similarity or a rule, without an experiment on this protein."""


@dataclass(frozen=True, slots=True)
class Source:
    """An entry that states a fact, and how it relates to the query."""

    entry: Characterised
    homologue: Homologue
    facts: tuple[Fact, ...]
    """As this entry says it; several where it says so of several parts of itself."""

    @property
    def eco(self) -> tuple[str, ...]:
        """Evidence codes, each once."""
        return tuple(dict.fromkeys(code for fact in self.facts for code in fact.eco))

    @property
    def pubmed(self) -> tuple[str, ...]:
        """PubMed ids, each once."""
        return tuple(dict.fromkeys(article for fact in self.facts for article in fact.pubmed))

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """First and last residue, in the source protein, of the parts that the fact is about."""
        return tuple((fact.begin, fact.end) for fact in self.facts if fact.begin is not None and fact.end is not None)

    @property
    def molecules(self) -> tuple[str, ...]:
        """Isoforms or chains of which alone the entry says it; none where it says so of the whole protein too."""
        named = tuple(dict.fromkeys(fact.molecule for fact in self.facts))
        return () if None in named else tuple(name for name in named if name is not None)

    @property
    def evidence(self) -> Evidence:
        """What the statement rests on in this entry; of several, the strongest."""
        if any(fact.is_experimental for fact in self.facts):
            return "experimental"
        if any(fact.is_transferred for fact in self.facts):
            return "transferred"
        return "other" if self.eco else "none stated"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **_entry(self.entry),
            **_alignment(self.homologue),
            "evidence": self.evidence,
            "eco": list(self.eco),
            "pubmed": list(self.pubmed),
            "places": [list(place) for place in self.places],
            "molecules": list(self.molecules),
        }


@dataclass(frozen=True, slots=True)
class CitedFact:
    """A fact, once, with the homologues that state it, the best first."""

    fact: Fact
    """In the words of the best source."""
    sources: tuple[Source, ...]
    frequency: "Frequency | None" = None
    """How often such a fact held when that was measured; None: not calibrated."""
    contradicts: tuple[str, ...] = ()
    """Values of other facts of the answer that no one entry states together with it, and that cannot hold with it."""

    @property
    def nearest(self) -> Homologue:
        """The closest homologue that states it; its identity and coverage choose the bin of the frequency."""
        return max((source.homologue for source in self.sources), key=lambda homologue: homologue.bits)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.fact.kind,
            "value": self.fact.value,
            "term": self.fact.term,
            "contradicts": list(self.contradicts),
            "frequency": None if self.frequency is None else asdict(self.frequency),
            "sources": [source.as_dict() for source in self.sources],
        }


@dataclass(frozen=True, slots=True)
class DomainHit:
    """A characterised protein that shares a part with the query; it says nothing about the whole."""

    entry: Characterised
    homologue: Homologue
    domains: tuple[Fact, ...] = ()
    """Domains of that protein that lie in the shared part; positions are its own."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        domains = [{"value": fact.value, "begin": fact.begin, "end": fact.end} for fact in self.domains]
        return {**_entry(self.entry), **_alignment(self.homologue), "domains": domains}


@dataclass(frozen=True, slots=True)
class RemoteNeighbour:
    """A characterised protein that lies near the query in an encoder's space and does not align with it."""

    entry: Characterised
    cosine: float
    """Of the two mean residue states."""
    frequencies: tuple["Frequency", ...]
    """How often facts of entries as near were right, by kind and digits; none where that was not calibrated."""
    text: str
    """The same in words, and that nothing is taken from it."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        frequencies = [asdict(frequency) for frequency in self.frequencies]
        return {**_entry(self.entry), "cosine": self.cosine, "frequencies": frequencies, "text": self.text}


@dataclass(frozen=True, slots=True)
class NeighbourAnswer:
    """What an index says to one question about one protein."""

    text: str
    status: Status
    facts: tuple[CitedFact, ...] = ()
    domain_hits: tuple[DomainHit, ...] = ()
    release: str = ""
    notes: tuple[str, ...] = ()
    """What to know about this protein before believing or doubting the answer."""
    claims: str = ""
    """What the text says of the protein, without sources; empty where it says nothing."""
    remote: tuple[RemoteNeighbour, ...] | None = None
    """Where there is no homologue; None where nothing was looked for."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``text`` stands beside them in an output row."""
        told = {
            "status": self.status,
            "release": self.release,
            "facts": [fact.as_dict() for fact in self.facts],
            "domain_hits": [hit.as_dict() for hit in self.domain_hits],
            "notes": list(self.notes),
        }
        if self.remote is not None:
            told["remote"] = [each.as_dict() for each in self.remote]
        return told


def _entry(entry: Characterised) -> dict[str, Any]:
    names = ("accession", "name", "organism", "release", "licence")
    return {name: getattr(entry, name) for name in names}


def _alignment(homologue: Homologue) -> dict[str, Any]:
    return {name: value for name, value in asdict(homologue).items() if name != "accession"}
