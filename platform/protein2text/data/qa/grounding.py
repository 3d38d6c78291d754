"""The abstract as evidence, and which of its sentences hold what a question and answer state (R6)."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from protein2text.data.qa.folding import skeleton
from protein2text.data.qa.hygiene import blemish
from protein2text.data.qa.lexicon import stem
from protein2text.data.qa.sentences import sentence_spans
from protein2text.data.qa.terms import Number, Terms, read


@dataclass
class Sentence:
    """A sentence of the abstract that counts as evidence."""

    span: tuple[int, int]
    words: set[str]
    """Every reading of compounds counts."""
    stems: set[str]
    numbers: set[Number]


@dataclass
class Evidence:
    """What an abstract states, read once for all its pairs."""

    sentences: list[Sentence] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    """Words of sentences that are no evidence (an address, markup) and of no other sentence."""
    words: set[str] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)
    numbers: set[Number] = field(default_factory=set)

    @cached_property
    def values(self) -> set[str]:
        """Numbers without their units."""
        return {value for value, _ in self.numbers}


def read_evidence(abstract: str) -> Evidence:
    """Read an abstract sentence by sentence."""
    evidence = Evidence()
    spoiled = blemish(abstract) is not None
    for start, end in sentence_spans(abstract):
        text = abstract[start:end]
        found = read(text)
        sentence = Sentence(
            (start, end),
            words=set(chain.from_iterable([reading.pieces for reading in found])),
            stems=set(chain.from_iterable([reading.stems for reading in found])),
            numbers=set(chain.from_iterable([reading.numbers for reading in found])),
        )
        if spoiled and blemish(text):
            evidence.excluded |= sentence.words.union(*(reading.pieces for reading in read(skeleton(text))))
            continue
        evidence.sentences.append(sentence)
        evidence.words |= sentence.words
        evidence.stems |= sentence.stems
        evidence.numbers |= sentence.numbers
    evidence.excluded -= evidence.words
    return evidence


def missing_name(stated: Terms, evidence: Evidence) -> str | None:
    """The first named thing or rare word, in alphabetical order, that the abstract does not hold."""
    missing = [name for name in stated.named if not _holds_name(evidence.words, name)]
    missing += [word for word in stated.rare if word not in evidence.words and stem(word) not in evidence.stems]
    return min(missing, default=None)


def _holds_name(words: set[str], name: str) -> bool:
    """Whether the abstract holds a named thing; an ion also where it only gives the element."""
    if name in words:
        return True
    element, _, charge = name.partition("(")
    return bool(charge) and element in words and not any(other.startswith(f"{element}(") for other in words)


def missing_number(stated: Terms, evidence: Evidence) -> str | None:
    """The first number that the abstract does not hold with the same unit."""
    for value, unit in sorted(stated.numbers, key=str):
        if (value, unit) not in evidence.numbers and (unit is not None or value not in evidence.values):
            return f"{value} {unit}" if unit else value
    return None


def num_missing(words: set[str], evidence: Evidence) -> int:
    """How many words the abstract does not hold, neither themselves nor another word of their stem."""
    return sum(word not in evidence.words and stem(word) not in evidence.stems for word in words)


def grounding(stated: Terms, evidence: Evidence) -> tuple[tuple[int, int], ...]:
    """Offsets of the fewest sentences, chosen greedily, that hold all that the abstract holds of a statement."""
    words = [(word, stem(word)) for word in stated.words]
    held = [_held(sentence, words, stated.numbers) for sentence in evidence.sentences]
    chosen = []
    while any(held):
        best = max(range(len(held)), key=lambda index: (len(held[index]), -index))
        chosen.append(evidence.sentences[best].span)
        covered = held[best]
        held = [part - covered for part in held]
    return tuple(sorted(chosen))


def _held(sentence: Sentence, words: list[tuple[str, str]], numbers: set[Number]) -> set[object]:
    by_word: set[object] = {word for word, root in words if word in sentence.words or root in sentence.stems}
    return by_word | (numbers & sentence.numbers)
