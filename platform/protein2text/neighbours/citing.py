"""From ranked homologues to cited facts: which are given, merged over their sources, contradictions named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from protein2text.neighbours.cited import CitedFact, DomainHit, Source
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import Homologue, rank

MAX_SOURCES = 3
"""Homologues whose facts of one kind are given, and those named for one fact."""
MAX_DOMAIN_HITS = 10
FREE_TEXT = frozenset({"name", "function"})
"""Kinds that every entry words in its own way: only the best homologue's words are given."""
_Said = tuple[str, str | None]
"""What, and of which isoform or chain."""


def cite(kind: str, homologues: Sequence[Homologue], entries: Mapping[str, Characterised]) -> tuple[CitedFact, ...]:
    """The facts of one kind that the best homologues state, each once; experimental evidence first.

    The calibration measures these very facts.

    Args:
        kind: one of ``FACT_KINDS``.
        homologues: of one query; those that cover a part only are passed over.
        entries: at least those of the homologues.
    """
    stated: dict[_Said, list[Source]] = {}
    for number, homologue in enumerate(rank(kind, homologues, entries)[:MAX_SOURCES]):
        entry = entries[homologue.accession]
        same: dict[_Said, list[Fact]] = {}
        for fact in sorted(_of_kind(entry, kind), key=lambda fact: not fact.is_experimental):
            same.setdefault(_key(fact), []).append(fact)
        for key, facts in same.items():
            if number == 0 or key in stated or kind not in FREE_TEXT:
                stated.setdefault(key, []).append(Source(entry, homologue, tuple(facts)))
    cited = [CitedFact(sources[0].facts[0], tuple(sources)) for sources in stated.values()]
    return _contradicted(cited) if kind == "ec" else tuple(cited)


def domain_hits(homologues: Sequence[Homologue], entries: Mapping[str, Characterised]) -> tuple[DomainHit, ...]:
    """The best homologues that share only a part with the query, and the domains of theirs that lie in it."""
    hits = []
    for homologue in [found for found in homologues if not found.is_whole][:MAX_DOMAIN_HITS]:
        entry = entries[homologue.accession]
        inside = [fact for fact in _of_kind(entry, "domain") if _lies_in(fact, homologue)]
        hits.append(DomainHit(entry, homologue, tuple(inside)))
    return tuple(hits)


def _of_kind(entry: Characterised, kind: str) -> list[Fact]:
    return [fact for fact in entry.facts if fact.kind == kind]


def _key(fact: Fact) -> _Said:
    """Equal for facts that say the same of the same: evidence on an isoform or chain is none on the whole protein."""
    return fact.term or words(fact), fact.molecule


def words(fact: Fact) -> str:
    """What a fact says, whatever its capitals and spaces."""
    return " ".join(fact.value.casefold().split())


def _lies_in(fact: Fact, homologue: Homologue) -> bool:
    if fact.begin is None or fact.end is None:
        return False
    return homologue.target_begin <= fact.begin and fact.end <= homologue.target_end


def _contradicted(cited: list[CitedFact]) -> tuple[CitedFact, ...]:
    """EC numbers with those of the others that cannot hold with them."""
    return tuple(
        replace(fact, contradicts=tuple(other.fact.value for other in cited if _contradict(fact, other)))
        for fact in cited
    )


def _contradict(one: CitedFact, other: CitedFact) -> bool:
    """Two EC numbers of which neither makes the other more exact, and that no entry gives to one protein."""
    compatible = all(a == b or "-" in (a, b) for a, b in zip(_levels(one), _levels(other), strict=False))
    return not compatible and not _accessions(one.sources) & _accessions(other.sources)


def _levels(cited: CitedFact) -> list[str]:
    return cited.fact.value.split(".")


def _accessions(sources: Iterable[Source]) -> set[str]:
    return {source.entry.accession for source in sources}
