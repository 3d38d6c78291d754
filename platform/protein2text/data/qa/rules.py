"""The limits that questions and answers are held to, and what each reason for a refusal or a flag means."""

from types import MappingProxyType

from pydantic import Field

from protein2text.base_config import Config
from protein2text.data.qa.schema import MAX_PAIRS


class QaRules(Config):
    """Every limit of the checks; the card of a QA corpus keeps the values that were applied."""

    max_pairs: int = Field(default=MAX_PAIRS, ge=1, le=MAX_PAIRS)
    """Pairs per passage; further ones are refused."""
    min_words: int = Field(default=3, ge=1)
    """Fewest words of a question and of an answer."""
    grounding_share: float = Field(default=0.6, ge=0, le=1)
    """Least share of the answer's content lemmas that the abstract holds."""
    similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of lemma shingles from which on two pairs about one protein are near duplicates."""
    max_proteins: int = Field(default=5, ge=1)
    """The k of R15: a pair that stands for more proteins than this is flagged."""
    length_ratio: float = Field(default=2.0, gt=1)
    """How far a stated length may lie from that of the sequence, as a factor either way: isoforms, precursors."""
    mass_ratio: float = Field(default=5.0, gt=1)
    """The same for a stated mass: glycosylation, complexes; a thousand-fold error is kDa written as Da."""
    licences: tuple[str, ...] = ("CC0", "CC BY", "CC BY-SA", "CC BY-NC", "CC BY-NC-SA")
    """Licences under which new texts may be made of an abstract; their versions do not matter."""


REASONS = MappingProxyType(
    {
        "not_json": "The generator's answer is not the JSON that was asked for.",
        "too_many_pairs": "The pair stands after the last one allowed for a passage.",
        "not_one_question": "The question holds no question mark, several, or one that is not its end.",
        "speaks_of_source": "Question or answer shows that a study, an article or its authors stand behind it.",
        "duplicate": "The same question and answer stand for the same protein already.",
        "near_duplicate": "Nearly the same question and answer stand for the same protein already.",
    }
)
"""Code of a refusal to what it means to a user."""

FLAGS = MappingProxyType(
    {
        "answer_names_protein": "The answer holds the protein's name, gene or a synonym.",
        "duplicate_across": "The same question and answer stand for another protein too.",
        "near_duplicate_across": "Nearly the same question and answer stand for another protein too.",
        "many_proteins": "The same question and answer stand for more proteins than max_proteins.",
    }
)
"""Code of a flag to what it means; a flagged pair is accepted."""
