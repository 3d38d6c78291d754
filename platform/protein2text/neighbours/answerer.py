"""Questions to answers from an index of characterised proteins; no model, no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from protein2text.neighbours import wording
from protein2text.neighbours.calibration import Calibration
from protein2text.neighbours.cited import CitedFact, NeighbourAnswer
from protein2text.neighbours.citing import cite, domain_hits
from protein2text.neighbours.closed import denial, mentions, says
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.grammar import Asked, read_question
from protein2text.neighbours.homologues import NEAR_BEST, Homologue, stream_with_entries
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.remote import RemoteSearch
from protein2text.proteins import Protein, is_one_of

SHORT_RESIDUES = 10
"""Below it an alignment is hardly ever significant, however alike the residues are."""


class NeighbourAnswerer:
    """Answers from the facts of homologues in one index."""

    def __init__(self, index: NeighbourIndex, remote: RemoteSearch | None = None) -> None:
        """Answer from an index.

        Args:
            remote: its embeddings, where what lies near is to be shown beside a refusal.
        """
        self._index, self._remote = index, remote

    def answer(
        self,
        questions: Sequence[tuple[str, Sequence[Protein]]],
        *,
        without: Mapping[int, frozenset[str]] | None = None,
    ) -> list[NeighbourAnswer]:
        """One answer per question, in order; all distinct proteins are searched in one run of MMseqs2.

        Args:
            questions: text and its proteins; a question about several, or none, is outside the grammar.
            without: accessions that may not ground the answer of the question with that number, nor may isoforms of
                theirs.

        Raises:
            ResourcesUnavailable: MMseqs2 does not run here.
            CorruptCheckpoint: the index's calibration cannot be read, or its encoder is another one now.
            MissingWeights: its encoder is not where it was.
        """
        answers: dict[int, NeighbourAnswer] = {}
        asking: dict[str, list[tuple[int, Asked]]] = {}
        refused: dict[int, tuple[str, frozenset[str]]] = {}
        for number, (question, proteins) in enumerate(questions):
            asked = read_question(question)
            if len(proteins) != 1:
                answers[number] = self._outside(wording.not_one_protein(len(proteins)))
            elif asked is None:
                answers[number] = self._outside(wording.outside_grammar(question))
            else:
                asking.setdefault(proteins[0].sequence, []).append((number, asked))
        for sequence, found, entries in stream_with_entries(self._index, list(asking)):
            for number, asked in asking[sequence]:
                left_out = (without or {}).get(number, frozenset())
                homologues = [homologue for homologue in found if not is_one_of(homologue.accession, left_out)]
                answers[number] = self._from_homologues(sequence, asked, homologues, entries)
                if answers[number].status == "no_homologue":
                    refused[number] = sequence, left_out.union(homologue.accession for homologue in found)
        if self._remote is not None:
            near = self._remote.beside(list(refused.values()))
            for number, each in zip(refused, near, strict=True):
                answers[number] = replace(answers[number], remote=each)
        return [answers[number] for number in range(len(questions))]

    @cached_property
    def _calibration(self) -> Calibration | None:
        path = self._index.calibration_path
        return Calibration.load(path) if path.is_file() else None

    def _outside(self, text: str) -> NeighbourAnswer:
        return NeighbourAnswer(text, "outside_grammar", release=self._index.release)

    def _from_homologues(
        self, sequence: str, asked: Asked, homologues: list[Homologue], entries: Mapping[str, Characterised]
    ) -> NeighbourAnswer:
        release, hits, notes = self._index.release, domain_hits(homologues, entries), _notes(sequence)
        if not any(homologue.is_whole for homologue in homologues):
            return NeighbourAnswer(wording.refusal(release), "no_homologue", (), hits, release, notes)
        facts, opening = self._cite(asked.kinds, homologues, entries), ""
        if asked.value is not None:
            facts = tuple(cited for cited in facts if says(cited.fact, asked.value, asked.relation))
            opening = wording.yes(_denials(facts, asked, entries))
        if facts:
            notes += _silent_relatives(facts, homologues, entries)
            text, claims = wording.answer_text(facts, opening), wording.claims(facts, opening and "Yes.")
            return NeighbourAnswer(text, "answered", facts, hits, release, notes, claims)
        nearest, opening = self._cite(asked.otherwise, homologues, entries), wording.nothing_stated(asked)
        if (value := asked.value) is not None:
            nearest = tuple(each for each in nearest if each.fact.kind != "function" or mentions(each.fact, value))
        text = wording.answer_text(nearest, f"{opening} What comes nearest:" if nearest else opening)
        return NeighbourAnswer(text, "no_such_fact", nearest, hits, release, notes, wording.claims(nearest))

    def _cite(
        self, kinds: Sequence[str], homologues: Sequence[Homologue], entries: Mapping[str, Characterised]
    ) -> tuple[CitedFact, ...]:
        """The facts of some kinds, with how often such facts held."""
        cited = [fact for kind in kinds for fact in cite(kind, homologues, entries)]
        if self._calibration is None:
            return tuple(cited)
        return tuple(replace(each, frequency=self._calibration.frequency_of(each.fact, each.nearest)) for each in cited)


def _denials(
    facts: Sequence[CitedFact], asked: Asked, entries: Mapping[str, Characterised]
) -> Iterator[tuple[str, str]]:
    """Entries behind a Yes that call their protein inactive, and their words."""
    if asked.value is None or asked.relation != "is":
        return
    for accession in dict.fromkeys(source.entry.accession for cited in facts for source in cited.sources):
        if (said := denial(entries[accession].facts, asked.value)) is not None:
            yield accession, said


def _silent_relatives(
    facts: Sequence[CitedFact], homologues: Sequence[Homologue], entries: Mapping[str, Characterised]
) -> tuple[str, ...]:
    """Kinds of facts that only remote homologues state, while a close one states none."""
    closest = max((found for found in homologues if found.is_whole), key=lambda found: found.bits)
    stated = {fact.kind for fact in entries[closest.accession].facts}
    bits: dict[str, float] = {}
    for cited in facts:
        bits[cited.fact.kind] = max(bits.get(cited.fact.kind, 0.0), cited.nearest.bits)
    silent = [kind for kind, best in bits.items() if kind not in stated and best < NEAR_BEST * closest.bits]
    return (wording.closest_is_silent(closest, silent),) if silent else ()


def _notes(sequence: str) -> tuple[str, ...]:
    """What makes a sequence hard to find anything for."""
    notes = []
    if len(sequence) < SHORT_RESIDUES:
        notes.append(f"{len(sequence)} residues are too few: below {SHORT_RESIDUES} no alignment is significant")
    if (unknown := sequence.count("X")) > len(sequence) / 2:
        notes.append(f"{unknown} of {len(sequence)} residues are X, which aligns with nothing")
    return tuple(notes)
