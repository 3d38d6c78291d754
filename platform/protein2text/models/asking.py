"""What a question from Python gives back, and how loosely given proteins and questions are paired."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from protein2text.errors import RecordError
from protein2text.models.long_proteins import Pass, Reading
from protein2text.proteins import parse_protein

if TYPE_CHECKING:
    from protein2text.models.generation import Decoding
    from protein2text.models.protein_to_text import ProteinToText

Finish = Literal["stop", "length"]
"""Ended by itself, or by the limit of new tokens."""


@dataclass(frozen=True)
class ProteinRead:
    """How the encoder read one protein."""

    num_residues: int
    read_as: Pass
    """``exact``: in one pass; ``window``: in overlapping windows."""
    beyond_training_length: bool
    """Longer than what the encoder saw whole in its training: take the answer with more doubt."""
    estimated_bytes: int
    """Memory that the encoder's forward allocated for it, as estimated before it ran."""


@dataclass(frozen=True)
class TextAnswer:
    """An answer, and what to know before believing it."""

    text: str
    finish: Finish
    proteins: tuple[ProteinRead, ...]
    """In the order in which they were given."""

    @property
    def beyond_training_length(self) -> bool:
        """Whether any of its proteins was."""
        return any(protein.beyond_training_length for protein in self.proteins)

    def __str__(self) -> str:
        return self.text


def describe(reading: Reading, num_residues: int) -> ProteinRead:
    """How a protein of this length is read."""
    how, beyond = reading.used(num_residues), reading.beyond_training(num_residues)
    return ProteinRead(num_residues, how, beyond, reading.estimated_bytes(num_residues))


def residues_of(text: str, reading: Reading, record: str) -> str:
    """Residues of a raw sequence or a FASTA record that this model can read.

    Raises:
        RecordError: no protein, several, a letter outside the encoder's alphabet, or a length that the model refuses.
    """
    protein = parse_protein(text, record=record, alphabet=reading.alphabet.letters)
    reading.check(protein.accession, len(protein))
    return protein.sequence


def pair_up(
    proteins: str | Sequence[str | Sequence[str]], questions: str | Sequence[str]
) -> list[tuple[list[str], str]]:
    """One group of proteins per question; what is given once is used for all.

    Args:
        proteins: one protein, or a list whose items are a protein each, or several for one question.

    Raises:
        RecordError: lists of different lengths, or an empty group.
    """
    groups = [proteins] if isinstance(proteins, str) else list(proteins)
    asked = [questions] if isinstance(questions, str) else list(questions)
    if isinstance(proteins, str):
        groups *= len(asked)
    elif isinstance(questions, str):
        asked *= len(groups)
    if len(groups) != len(asked):
        remedy = "Give one protein or one question for all, or lists of the same length."
        raise RecordError("ask", "proteins and questions", f"{len(groups)} and {len(asked)}", "no pairing", remedy)
    members = [[group] if isinstance(group, str) else list(group) for group in groups]
    if [] in members:
        place = f"proteins[{members.index([])}]"
        raise RecordError(place, "proteins", "0 proteins", "at least 1 is needed", "Give one.")
    return list(zip(members, asked, strict=True))


def answer_questions(
    model: "ProteinToText", proteins: str | Sequence[str | Sequence[str]], questions: str | Sequence[str],
    settings: "Decoding", batch_size: int,
) -> list[TextAnswer]:  # fmt: skip
    """One answer per question, see ``ProteinToText.ask``."""
    reading = model.reading
    groups, prompts = [], []
    for number, (group, question) in enumerate(pair_up(proteins, questions)):
        groups.append([residues_of(text, reading, f"proteins[{number}]") for text in group])
        prompts.append(model.encode_question(question, len(group)))
    answers = []
    for first in range(0, len(prompts), batch_size):
        batch = slice(first, first + batch_size)
        rows = model.answer_ids(prompts[batch], groups[batch], settings)
        for ids, group in zip(rows, groups[batch], strict=True):
            finish: Finish = "length" if len(ids) == settings.max_new_tokens else "stop"
            read = tuple(describe(reading, len(sequence)) for sequence in group)
            answers.append(TextAnswer(model.decoder.text_of(ids), finish, read))
    return answers
