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
    grounding_share: float = Field(default=0.5, ge=0, le=1)
    """Least share of the content words of what a pair states, but for one, that the abstract holds by lemma or stem: at
    0.5, a statement of two words may miss none, one of three or four a single one."""
    similarity: float = Field(default=0.8, ge=0.8, le=1)
    """Jaccard similarity of neighboring lemmas from which on two pairs are near duplicates; across proteins the index
    would miss many below 0.8."""
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
        "bad_pair": "The pair lacks a question or an answer, or one of them is blank, too long or no text.",
        "too_many_pairs": "The pair stands after the last one allowed for a passage.",
        "bad_sequence": "Residues, length and checksum of the passage's protein do not fit each other.",
        "bad_pmcid": "The passage's article has no proper PMC id.",
        "retracted": "The article was retracted.",
        "licence": "The article states no licence, or one that does not allow new texts to be made of it.",
        "poisoned_abstract": "The abstract speaks to a language model, or holds encoded or hidden letters.",
        "protein_not_in_abstract": "The abstract does not name the protein.",
        "not_one_question": "The question holds no question mark, several, or one that is not its end.",
        "instruction": "Question or answer holds text that instructs or addresses a reader or a model.",
        "encoded": "Question or answer holds encoded text, such as base64.",
        "hidden_letters": "Question or answer holds letters that do not show, such as zero-width ones.",
        "foreign_letters": "Question or answer holds letters that are not Latin or Greek, or Greek for Latin ones.",
        "address": "Question or answer holds a web or mail address or a DOI.",
        "markup": "Question or answer holds markup, such as HTML tags.",
        "speaks_of_source": "Question or answer shows that a study, an article or its authors stand behind it.",
        "question_names_protein": "The question holds the protein's name, gene or a synonym.",
        "not_about_protein": "The question does not refer to this protein, or the answer is about another thing only.",
        "truncated": "Question or answer was cut: open quotes or brackets, no end, or too few words.",
        "evasive": "The answer says that it is unknown or not mentioned.",
        "echo": "The answer is the question, or made of its words only.",
        "implausible_quantity": "A quantity cannot be true, in itself or of a sequence of this length.",
        "ungrounded_name": "A symbol, chemical, protein, EC number, GO id or unusual word is not in the abstract.",
        "ungrounded_number": "A number is not in the abstract, or not with this unit.",
        "ungrounded_words": "Too few of the content words are in the abstract.",
        "duplicate": "The same question and answer stand for the same protein already.",
        "near_duplicate": "Nearly the same question and answer stand for the same protein already.",
    }
)
"""Code of a refusal to what it means to a user, in the order in which the checks are made."""

FLAGS = MappingProxyType(
    {
        "answer_names_protein": "The answer holds the protein's name, gene or a synonym.",
        "duplicate_across": "The same question and answer stand for another protein too.",
        "near_duplicate_across": "Nearly the same question and answer stand for another protein too.",
        "many_proteins": "The same question and answer stand for more proteins than max_proteins.",
    }
)
"""Code of a flag to what it means; a flagged pair is accepted."""
