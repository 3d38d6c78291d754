"""Everything that one passage decides about the questions and answers generated from it (R1-R10, R13, R14, R16)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from protein2text.data.passages import Passage
from protein2text.data.qa import wording
from protein2text.data.qa.folding import plain
from protein2text.data.qa.generated import read_pairs
from protein2text.data.qa.grounding import Evidence, grounding, missing_name, missing_number, num_missing, read_evidence
from protein2text.data.qa.hygiene import dirt
from protein2text.data.qa.names import NameFinder
from protein2text.data.qa.passage_checks import Problem, passage_problem
from protein2text.data.qa.quantities import implausible
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.terms import Terms, terms
from protein2text.data.qa.wording import Kind


@dataclass(frozen=True)
class CheckedPair:
    """A question and answer and what was found about them."""

    question: str
    answer: str
    kind: Kind
    reason: str | None
    """Key of ``REASONS``; None when the pair is accepted."""
    message: str | None
    """What was refused, with the value and the limit; None when the pair is accepted."""
    flags: tuple[str, ...]
    """Keys of ``FLAGS``, sorted; none on a refused pair."""
    grounding: tuple[tuple[int, int], ...]
    """Offsets (start, end) of the sentences of the abstract that ground an accepted pair, in order."""


@dataclass
class _Source:
    """A passage, read once for all its pairs."""

    passage: Passage
    rules: QaRules

    @cached_property
    def problem(self) -> Problem | None:
        return passage_problem(self.passage, self.rules)

    @cached_property
    def names(self) -> NameFinder:
        return NameFinder([*self.passage["names"], *self.passage["found"]])

    @cached_property
    def evidence(self) -> Evidence:
        return read_evidence(self.passage["abstract"])


@dataclass
class _Pair:
    """A question and answer, read once for all rules."""

    question: str
    answer: str

    @cached_property
    def both(self) -> str:
        return f"{self.question}\n{self.answer}"

    @cached_property
    def kind(self) -> Kind:
        return wording.kind_of(self.question, self.answer)

    @cached_property
    def asked(self) -> Terms:
        return terms(self.question)

    @cached_property
    def answered(self) -> Terms:
        return terms(self.answer)

    @cached_property
    def stated(self) -> Terms:
        return self.asked | self.answered


def check_generated(text: str, passage: Passage, rules: QaRules) -> list[CheckedPair]:
    """Read what a generator wrote about a passage and check every pair by itself.

    Args:
        text: the generator's answer, as it came.
        passage: what it was asked about.
        rules: limits.

    Returns:
        One entry per generated pair, in order; none for an empty list of pairs. White space in accepted texts is
        single blanks. An answer that is not JSON of ``QA_SCHEMA`` gives one entry with the reason ``not_json``, no
        question, and the text as its answer.
    """
    source = _Source(passage, rules)
    checked = []
    for question, answer, problem in read_pairs(text, rules):
        pair = _Pair(question, answer)
        problem = problem or source.problem or _first_problem(pair, source)
        checked.append(_refused(pair, problem) if problem else _accepted(pair, source))
    return checked


def _refused(pair: _Pair, problem: Problem) -> CheckedPair:
    return CheckedPair(pair.question, pair.answer, pair.kind, *problem, flags=(), grounding=())


def _accepted(pair: _Pair, source: _Source) -> CheckedPair:
    flags = ("answer_names_protein",) if source.names.find(pair.answer) else ()
    spans = grounding(_claim(pair), source.evidence)
    return CheckedPair(pair.question, pair.answer, pair.kind, None, None, flags, spans)


def _first_problem(pair: _Pair, source: _Source) -> Problem | None:
    for check in PAIR_CHECKS:
        if problem := check(pair, source):
            return problem
    return None


def _not_one_question(pair: _Pair, source: _Source) -> Problem | None:
    """R2: exactly one question mark, at the end of the question."""
    if pair.question.count("?") == 1 and pair.question.endswith("?"):
        return None
    return Problem(
        "not_one_question", f"{pair.question.count('?')} question marks, and the end is {pair.question[-1:]!r}"
    )


def _dirty(pair: _Pair, source: _Source) -> Problem | None:
    """R16: no instruction, address, markup, encoded or hidden letters."""
    finding = dirt(pair.both)
    return Problem(finding, f"question or answer: {finding.replace('_', ' ')}") if finding else None


def _speaks_of_source(pair: _Pair, source: _Source) -> Problem | None:
    """R3: nothing shows that a study or abstract stood behind it."""
    word = wording.source_word(pair.both)
    return Problem("speaks_of_source", f"{word!r}") if word else None


def _question_names_protein(pair: _Pair, source: _Source) -> Problem | None:
    """R4: the protein is asked about, never named."""
    name = source.names.find(pair.question)
    return Problem("question_names_protein", f"{name!r}") if name else None


def _not_about_protein(pair: _Pair, source: _Source) -> Problem | None:
    """R5: the question refers to this protein, and the answer is not about another thing alone."""
    if not wording.asks_about_protein(pair.question, pair.answer):
        return Problem("not_about_protein", "the question holds no `this protein`, `the protein`, `it` or `its`")
    other = wording.other_subject(pair.question, pair.answer)
    if other and not source.names.find(pair.answer):
        return Problem("not_about_protein", f"the answer speaks of {other!r} only")
    return None


def _truncated(pair: _Pair, source: _Source) -> Problem | None:
    """R7: question and answer are whole."""
    for place, text in (("question", pair.question), ("answer", pair.answer)):
        if problem := wording.truncation(plain(text), source.rules.min_words):
            return Problem("truncated", f"{place}: {problem}")
    return None


def _evasive(pair: _Pair, source: _Source) -> Problem | None:
    """R8: the answer is one."""
    words = wording.evasion(pair.answer)
    return Problem("evasive", f"{words!r}") if words else None


def _echo(pair: _Pair, source: _Source) -> Problem | None:
    """R9: the answer is not the question, nor made of its words alone."""
    if pair.answer.endswith("?"):
        return Problem("echo", "the answer is a question")
    said = {*pair.answered.sequence}
    if pair.kind == "open" and said <= {*pair.asked.sequence} and not wording.offers_alternatives(pair.question):
        return Problem("echo", "the answer has no content word that the question has not")
    return None


def _ungrounded(pair: _Pair, source: _Source) -> Problem | None:
    """R6: named things and numbers of the pair, and enough words of its claim, stand in the abstract."""
    evidence, stated = source.evidence, pair.stated
    if name := missing_name(stated, evidence):
        return Problem("ungrounded_name", f"{name!r} is not in the abstract")
    if number := missing_number(stated, evidence):
        return Problem("ungrounded_number", f"{number} is not in the abstract")
    if left_out := min(stated.words & evidence.excluded, default=None):
        return Problem("ungrounded_name", f"{left_out!r} stands in a sentence that is no evidence")
    words, share = _claim(pair).words, source.rules.grounding_share
    missing = num_missing(words, evidence)
    allowed = int((1 - share) * max(0, len(words) - 1))
    if missing > allowed:
        return Problem("ungrounded_words", f"{missing} of {len(words)} content words are missing; at most {allowed}")
    return None


def _implausible(pair: _Pair, source: _Source) -> Problem | None:
    """R13: quantities can be true of this sequence."""
    length = source.passage["protein"]["length"]
    problem = implausible(pair.both, pair.stated, length, source.rules)
    return Problem("implausible_quantity", problem) if problem else None


PAIR_CHECKS: tuple[Callable[[_Pair, _Source], Problem | None], ...] = (
    _not_one_question,
    _dirty,
    _speaks_of_source,
    _question_names_protein,
    _not_about_protein,
    _truncated,
    _evasive,
    _echo,
    _implausible,
    _ungrounded,
)
"""In this order; the first problem is the reason. Cheap rules come first, reading of the abstract last."""


def _claim(pair: _Pair) -> Terms:
    """What the pair asserts: the answer, and for yes or no what was asked as well."""
    return pair.stated if pair.kind == "yes_no" else pair.answered
