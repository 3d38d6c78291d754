"""Answers in words: short sentences, each with its sources in brackets, and what was measured of such statements."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from protein2text.neighbours.cited import CitedFact, Source
from protein2text.neighbours.grammar import EXAMPLES, Asked
from protein2text.neighbours.homologues import Homologue

if TYPE_CHECKING:
    from protein2text.neighbours.calibration import Frequency
    from protein2text.neighbours.entries import Characterised

MAX_ARTICLES = 5
"""PubMed ids written out for one source; the facts of the answer hold all of them."""
_SMALLEST = 1e-300
"""E-values below it are written as 0, or as what a float can just hold."""

_STATEMENTS = {
    "name": "It resembles {}",
    "function": "{}",
    "ec": "Its EC number is {}",
    "reaction": "It catalyzes {}",
    "molecular_function": "Its molecular function is {}",
    "biological_process": "It takes part in {}",
    "cellular_component": "It is part of {}",
    "location": "It is found in {}",
    "cofactor": "Its cofactor is {}",
    "ligand": "It binds {}",
    "domain": "It has the domain {}",
    "family": "It belongs to the {}",
}
"""How a fact of each kind is said of the query."""
_PLURALS = {
    "name": "names",
    "function": "texts of function",
    "ec": "EC numbers",
    "reaction": "reactions",
    "molecular_function": "molecular functions",
    "biological_process": "biological processes",
    "cellular_component": "cellular components",
    "location": "locations",
    "cofactor": "cofactors",
    "ligand": "ligands",
    "domain": "domains",
    "family": "families",
}


def refusal(release: str) -> str:
    """The whole answer where nothing significant covers the protein."""
    return f"no characterised homologue in {release}"


def outside_grammar(question: str) -> str:
    """The answer to a question that names no fact of an entry."""
    return (
        f'Entries of homologues cannot answer "{" ".join(question.split())}". They can answer questions such as: '
        f"{' '.join(EXAMPLES)}"
    )


def not_one_protein(num_proteins: int) -> str:
    """The answer to a question about several proteins, or none."""
    return f"Homologues answer questions about one protein, and {num_proteins} were given. Ask about each by itself."


def yes(denials: Iterable[tuple[str, str]]) -> str:
    """What opens the answer to a closed question that facts affirm.

    Args:
        denials: accessions behind these facts whose entries also say otherwise, each with the words.
    """
    said = "; ".join(f'{accession}, "{words}"' for accession, words in denials)
    return f"Yes, though an entry behind it says otherwise: {said}." if said else "Yes."


def nothing_stated(asked: Asked) -> str:
    """What stands first where homologues were found and none states what was asked."""
    if asked.value is not None:
        return f'No characterised homologue is said to fit "{asked.value}", which is no proof against it.'
    return f"No characterised homologue states any {' or '.join(_PLURALS[kind] for kind in asked.kinds)}."


def answer_text(facts: Sequence[CitedFact], opening: str = "") -> str:
    """Statements, a line for each kind; then what was measured of them; then the entries that state them.

    Args:
        facts: in order of their kinds.
        opening: what stands before them.
    """
    lines = [opening] if opening else []
    for kind in dict.fromkeys(cited.fact.kind for cited in facts):
        of_kind = [cited for cited in facts if cited.fact.kind == kind]
        lines.append(" ".join([*statements(of_kind), *_contradiction(of_kind)]))
    return "\n".join([*lines, *_confidence(facts), *_sources(facts)])


def claims(facts: Sequence[CitedFact], opening: str = "") -> str:
    """The statements alone, without sources and measurements: what an evaluation holds against the truth."""
    values: dict[str, dict[str, None]] = {}
    for cited in facts:
        values.setdefault(cited.fact.kind, {})[cited.fact.value.rstrip(" .")] = None
    said = [f"{_STATEMENTS[kind].format('; '.join(each))}." for kind, each in values.items()]
    return " ".join([opening, *said] if opening else said)


def statements(facts: Sequence[CitedFact]) -> list[str]:
    """Facts of one kind, with their sources in brackets; those that rest on the same share a sentence."""
    grouped: dict[str, dict[str, None]] = {}
    for cited in facts:
        brackets = "; ".join(map(_in_brackets, cited.sources))
        term = f" ({cited.fact.term})" if cited.fact.term not in (None, cited.fact.value) else ""
        grouped.setdefault(brackets, {})[f"{cited.fact.value.rstrip(' .')}{term}"] = None
    said = _STATEMENTS[facts[0].fact.kind]
    return [f"{said.format('; '.join(values))} [{brackets}]." for brackets, values in grouped.items()]


def measured(frequency: "Frequency") -> str:
    """How often such facts held, in a sentence."""
    own = f"Cited {_PLURALS[frequency.kind]} were the protein's own{_digits(frequency)}"
    return (
        f"{own} in {frequency.num_agreeing} of {frequency.n} leave-one-out cases of {frequency.num_proteins} proteins "
        f"at {frequency.identity_bin} identity and a coverage of {frequency.coverage_bin} "
        f"({_percent(frequency.share)}, 95 % interval {_interval(frequency)})."
    )


def remote(entry: "Characterised", cosine: float, frequencies: Sequence["Frequency"]) -> str:
    """A protein that lies near and does not align, on one line."""
    told = [
        f"{each.num_agreeing} of {each.n} {_PLURALS[each.kind]}{_digits(each)} ({_interval(each)})"
        for each in frequencies
    ]
    own = f"Of what entries as near state, left-out proteins had as their own, with 95 % intervals: {', '.join(told)}."
    said = "no alignment supports it, and no fact is taken from it"
    return f"Remote: {_named(entry)}, cosine {cosine:.4f}; {said}. {own if told else 'Not calibrated.'}"


def _interval(frequency: "Frequency") -> str:
    return f"{_percent(frequency.low)} to {_percent(frequency.high)}"


def _digits(frequency: "Frequency") -> str:
    return f" at {frequency.level} digit{'s' * (frequency.level > 1)}" if frequency.level is not None else ""


def _in_brackets(source: Source) -> str:
    evidence = {
        "experimental": "experimental",
        "transferred": "itself transferred",
        "other": "other evidence",
        "none stated": "no evidence stated",
    }[source.evidence]
    codes = f" ({', '.join(source.eco)})" if source.eco else ""
    parts = [source.entry.accession, f"{_percent(source.homologue.identity)} identity", f"{evidence}{codes}"]
    if source.pubmed:
        more = len(source.pubmed) - MAX_ARTICLES
        articles = ", ".join(source.pubmed[:MAX_ARTICLES])
        parts.append(f"PubMed {articles}{f' and {more} more' if more > 0 else ''}")
    if source.places:
        parts.append("its residues " + ", ".join(f"{begin}-{end}" for begin, end in source.places))
    if source.molecules:
        parts.append(f"only {' and '.join(source.molecules)}")
    return ", ".join(parts)


def _contradiction(facts: Iterable[CitedFact]) -> list[str]:
    """A sentence for each fact that others contradict, each pair once."""
    sentences, told = [], set()
    for cited in facts:
        others = [value for value in cited.contradicts if (value, cited.fact.value) not in told]
        told |= {(cited.fact.value, value) for value in others}
        if others:
            named = f"{cited.fact.value} and {', '.join(others)}"
            sentences.append(f"These contradict each other, and no one entry states both: {named}.")
    return sentences


def _confidence(facts: Sequence[CitedFact]) -> list[str]:
    """A sentence for each frequency that is quoted, and one for what has none; both name what is contradicted."""
    known: dict[tuple[Frequency, str | None], None] = {}
    unknown: dict[tuple[str, str | None], None] = {}
    for cited in facts:
        value = cited.fact.value if cited.contradicts else None
        if cited.frequency is None:
            unknown[cited.fact.kind, value] = None
        else:
            known[cited.frequency, value] = None
    partly = {frequency.kind for frequency, _ in known}
    words = [value or f"{'the other ' if kind in partly else ''}{_PLURALS[kind]}" for kind, value in unknown]
    told = [measured(frequency) if value is None else _measured_of(value, frequency) for frequency, value in known]
    return [*told, *([f"Not calibrated: {', '.join(words)}."] if words else [])]


def _measured_of(value: str, frequency: "Frequency") -> str:
    told = measured(frequency)
    return f"For {value}: {told[0].lower()}{told[1:]}"


def _sources(facts: Iterable[CitedFact]) -> list[str]:
    cited = {source.entry.accession: source for fact in facts for source in fact.sources}
    return [_source(source) for source in sorted(cited.values(), key=lambda source: -source.homologue.bits)]


def _source(source: Source) -> str:
    return f"{_named(source.entry)}: {alignment(source.homologue)}."


def _named(entry: "Characterised") -> str:
    organism = f" of {entry.organism}" if entry.organism else ""
    release = f", release {entry.release}" if entry.release else ", of no stated release"
    return f"{entry.accession} is {entry.name or 'unnamed'}{organism}{release}"


def closest_is_silent(homologue: Homologue, kinds: Sequence[str]) -> str:
    """What makes facts of remote homologues doubtful."""
    named = " or ".join(_PLURALS[kind] for kind in kinds)
    return (
        f"the closest homologue, {homologue.accession} at {_percent(homologue.identity)} identity, states no {named}; "
        f"these come from remote ones"
    )


def alignment(homologue: Homologue) -> str:
    """Identity, both coverages and significance."""
    evalue = f"E = {homologue.evalue:.0e}" if homologue.evalue >= _SMALLEST else f"E < {_SMALLEST:.0e}"
    return (
        f"{_percent(homologue.identity)} identity over {_percent(homologue.query_coverage)} of the query and "
        f"{_percent(homologue.target_coverage)} of the entry, {evalue}"
    )


def _percent(share: float) -> str:
    """Whole percent, 100 only of what is whole."""
    return f"{100 if share >= 1 else min(99, round(100 * share))} %"
