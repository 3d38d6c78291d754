"""Facts of an index in a decoder's prompt: which, in what words, how many fit, and which of them the answer cites."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from protein2text.answerers import Message, Query, index_folder
from protein2text.errors import ConfigError
from protein2text.models.chat import PLACEHOLDER, Tokenizer, encode_text
from protein2text.neighbours.answerer import NeighbourAnswerer
from protein2text.neighbours.cited import CitedFact, Source
from protein2text.neighbours.grammar import PROFILE_QUESTION, read_question
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.proteins import UNIPROT_ACCESSION

INSTRUCTION = (
    "Cite the accession in brackets, such as [{accession}], for each of these facts that you use. Where they "
    "contradict each other, say so."
)
_EVIDENCE = ("experimental", "other", "none stated", "transferred")
"""The stronger first."""
_ACCESSION = re.compile(rf"\b{UNIPROT_ACCESSION}\b")
"""As UniProt forms them; whatever an answer calls so was meant as a source."""


@dataclass(frozen=True)
class ContextFact:
    """One fact of a prompt, with the homologue that it is taken from."""

    protein: int
    """Which of the question's proteins it is about, from 1."""
    cited: CitedFact
    is_asked: bool
    """Whether the question asks for its kind."""

    @property
    def source(self) -> Source:
        return self.cited.sources[0]

    @property
    def weakness(self) -> tuple[bool, int, float]:
        """Orders facts, the strongest first: asked for, by experiment, from a close homologue."""
        homologue = self.source.homologue
        return not self.is_asked, _EVIDENCE.index(self.source.evidence), -homologue.identity * homologue.coverage

    def line(self, num_proteins: int) -> str:
        """As the prompt has it."""
        about = f"protein {self.protein}, " if num_proteins > 1 else ""
        notes = [f"{self.source.homologue.identity * 100:.0f} % identical", self.source.evidence]
        notes += [f"only {_plain(name)}" for name in self.source.molecules]
        notes += [f"contradicted by {_plain(value)}" for value in self.cited.contradicts]
        kind, accession = self.cited.fact.kind.replace("_", " "), self.source.entry.accession
        return f"- {about}{kind}: {_plain(self.cited.fact.value)} [{accession}] ({', '.join(notes)})"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        homologue = self.source.homologue
        return {
            "protein": self.protein,
            "kind": self.cited.fact.kind,
            "value": self.cited.fact.value,
            "accession": self.source.entry.accession,
            "release": self.source.entry.release,
            "identity": homologue.identity,
            "coverage": homologue.coverage,
            "evidence": self.source.evidence,
            "molecules": list(self.source.molecules),
            "contradicts": list(self.cited.contradicts),
        }


@dataclass(frozen=True)
class Context:
    """What stands in one prompt."""

    text: str
    """Before the question; empty where there is no fact, or room for none."""
    facts: tuple[ContextFact, ...]
    num_left_out: int
    """Facts for which there was no room."""
    index: dict[str, Any]
    """Where they come from."""

    def as_dict(self, answer: str) -> dict[str, Any]:
        """For the answer's row: the facts, those that it cites, and accessions that it has from nowhere."""
        given = [fact.source.entry.accession for fact in self.facts]
        return {
            **self.index,
            "facts": [fact.as_dict() for fact in self.facts],
            "num_left_out": self.num_left_out,
            "cited": [accession for accession in dict.fromkeys(given) if _names(answer, accession)],
            "not_in_context": sorted(set(_ACCESSION.findall(answer)) - set(given)),
        }


class ContextIndex:
    """Facts for prompts, from an index of neighbours."""

    def __init__(self, index: NeighbourIndex, max_tokens: int) -> None:
        self._neighbours = NeighbourAnswerer(index)
        self.max_tokens = max_tokens
        self.identity: dict[str, Any] = {**index.identity, "release": index.release, "max_tokens": max_tokens}
        self._release = index.release

    def about(self, queries: Sequence[Query]) -> list[list[ContextFact]]:
        """What the index says of the proteins of each question, the strongest first; one search for all."""
        asked = [(query, number, protein) for query in queries for number, protein in enumerate(query.proteins, 1)]
        without = {place: query.without for place, (query, _, _) in enumerate(asked) if query.without}
        answers = self._neighbours.answer([(PROFILE_QUESTION, (one,)) for _, _, one in asked], without=without)
        found: dict[str, list[ContextFact]] = {query.id: [] for query in queries}
        for (query, number, _), answer in zip(asked, answers, strict=True):
            question = read_question(query.question)
            kinds = question.kinds if question else ()
            found[query.id] += [ContextFact(number, cited, cited.fact.kind in kinds) for cited in answer.facts]
        return [sorted(found[query.id], key=lambda fact: fact.weakness) for query in queries]

    def lay_out(
        self, facts: Sequence[ContextFact], num_proteins: int, tokenizer: Tokenizer, fits: Callable[[str], bool]
    ) -> Context:
        """As many of the facts as have room, the strongest first and each whole.

        Args:
            facts: as ``about`` gives them.
            num_proteins: of the question.
            tokenizer: of the decoder; it says what ``max_tokens`` holds.
            fits: whether the decoder has room for a prompt with this text; so it has then for any shorter one.
        """
        low, high = 0, len(facts)
        while low < high:
            middle = (low + high + 1) // 2
            text = self._text(facts[:middle], num_proteins)
            has_room = len(encode_text(tokenizer, text)) <= self.max_tokens and fits(text)
            low, high = (middle, high) if has_room else (low, middle - 1)
        return Context(self._text(facts[:low], num_proteins), tuple(facts[:low]), len(facts) - low, self.identity)

    def _text(self, facts: Sequence[ContextFact], num_proteins: int) -> str:
        if not facts:
            return ""
        header = f"Facts about similar, characterised proteins, from {self._release}:"
        instruction = INSTRUCTION.format(accession=facts[0].source.entry.accession)
        return "\n".join([header, *(fact.line(num_proteins) for fact in facts), instruction, ""]) + "\n"


def open_context(uri: str, max_tokens: int) -> ContextIndex:
    """The index that ``--context`` names.

    Raises:
        ConfigError: no ``neighbours:DIR``.
        MissingFile: no index there.
        CorruptCheckpoint: it differs from its manifest.
    """
    folder = index_folder(uri)
    if folder is None:
        raise ConfigError("options", "--context", f"{uri!r} is no index; write neighbours:DIR")
    return ContextIndex(NeighbourIndex.open(folder), max_tokens)


def put_before_question(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with a text before the last question, after the placeholders of its proteins."""
    *earlier, last = messages
    content, opening = last["content"], f"{PLACEHOLDER}\n"
    num_proteins = 0
    while content.startswith(opening, num_proteins * len(opening)):
        num_proteins += 1
    start = num_proteins * len(opening)
    return [*earlier, {**last, "content": content[:start] + text + content[start:]}]


def _names(answer: str, accession: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(accession)}(?!\w)", answer) is not None


def _plain(text: str) -> str:
    """On one line, and without placeholders, which stand for proteins alone."""
    text = " ".join(text.split())
    while PLACEHOLDER in text:  # taking one out can leave another
        text = text.replace(PLACEHOLDER, "")
    return text
