"""`data.qa.wording`: rules that words alone decide, on accepted and refused texts close to each other."""

import json
from pathlib import Path

import pytest

from protein2text.data.qa import wording
from protein2text.data.whole_text import closes


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("What did the study show about this protein?", "study"),
        ("It was studied in mice.", "studied"),
        ("In this abstract it binds zinc.", "abstract"),
        ("The Authors report it.", "Authors"),
        ("As shown in Figure 2, it binds.", "Figure"),
        ("See Fig. 2 for it.", "Fig"),
        ("Smith et al. found it.", "et al"),
        ("According to the text, it binds zinc.", "the text"),
        ("These results show that it binds.", "These results"),
        ("We show that it binds.", "We"),
        ("PMC12345 describes it.", "PMC12345"),
        ("Researchers found it in mice.", "Researchers"),
        ("Table 1 lists them.", "Table"),
    ],
)
def test_traces_of_a_source(text: str, word: str) -> None:
    assert wording.source_word(text) == word


@pytest.mark.parametrize(
    "text",
    [
        "It is a stable protein that is formed into tablets.",
        "Its loss results in death.",
        "It finds its target in the nucleus.",
        "It is sturdy, abstracted, authorized and configured.",
        "It needs a text-book promoter and a context.",
    ],
)
def test_words_that_only_resemble_a_source(text: str) -> None:
    assert wording.source_word(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "What does this protein bind?",
        "Does the protein bind zinc?",
        "What is the enzyme's role?",
        "Where is this small membrane protein found?",
        "Which cells express this transcription factor?",
        "Does it bind zinc?",
        "What are its partners in the cell?",
        "How does this gene's loss act?",
        "What do these two proteins share?",
        "In the liver, what is its role?",
        "Which tissues express it?",
        "Is this kinase active?",
    ],
)
def test_references_to_the_protein(text: str) -> None:
    assert wording.refers(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is apoptosis?",
        "What does the protein BRCA1 bind?",
        "What is the role of BRCA1 and its partners?",
        "How does insulin exert its effect?",
        "What is this disease?",
        "Does this protein, TP53, bind DNA?",
        "Is the drug effective?",
        "What is this class of enzymes?",
        "What do some proteins do?",
        "Is the orbit of Italy item?",
    ],
)
def test_no_reference_to_the_protein(text: str) -> None:
    assert not wording.refers(text)


def test_a_question_about_any_protein_needs_an_answer_about_this_one() -> None:
    question = "Can a protein's genotype and phenotype be directly related?"
    assert wording.asks_about_protein(question, "No, not in this protein-related condition.")
    assert not wording.asks_about_protein(question, "No, not in most conditions.")


@pytest.mark.parametrize(
    ("question", "answer", "subject"),
    [
        ("What is the role of this protein?", "BRCA1 repairs DNA in the nucleus.", "BRCA1"),
        ("What is the role of this protein?", "Insulin lowers glucose.", "Insulin"),
        ("Does this protein bind DNA?", "Yes, the TP53 was bound to DNA.", "TP53"),
        ("What is the role of this protein?", "BRCA1 binds it in the nucleus.", None),
        ("What is the role of this protein?", "It repairs DNA.", None),
        ("Which proteins bind this protein?", "BRCA1 binds in the nucleus.", None),
        ("What regulates this protein?", "MDM2 was found to regulate the level.", None),
        ("What is the role of this protein?", "Repair of DNA is a role.", None),
    ],
)
def test_answers_about_another_thing_alone(question: str, answer: str, subject: str | None) -> None:
    assert wording.other_subject(question, answer) == subject


@pytest.mark.parametrize(
    "text",
    [
        "It binds zinc.",
        'It is called "the guardian".',
        "It binds Ca(2+) (and Zn2+) [in vitro].",
        "It acts on the 5'-end.",
        "It is a form of vitamin A.",
        "It ends in “quotes.”",
        "Which factors is it bound to?",
    ],
)
def test_whole_texts(text: str) -> None:
    assert wording.truncation(text, min_words=3) is None


@pytest.mark.parametrize(
    "text",
    [
        "It is critical to investigate this protein\\",
        "It binds zinc",
        "It binds zinc (and iron.",
        "It binds zinc) and iron.",
        'It is called "the guardian.',
        "It ends in “quotes.",
        "It binds zinc and...",
        "It binds zinc, iron,",
        "It binds the.",
        "It binds zinc and.",
        "It binds.",
        "",
    ],
)
def test_truncated_texts(text: str) -> None:
    assert wording.truncation(text, min_words=3)


def test_brackets_must_close_in_order() -> None:
    assert closes("a (b [c] d) {e}")
    assert not closes("a (b [c) d]")


@pytest.mark.parametrize(
    "answer",
    [
        "Its function is unknown.",
        "The function of this protein is not known.",
        "It remains unclear.",
        "It is not mentioned which cells express it.",
        "Unknown at this time.",
        "It cannot be determined from this.",
        "The details are not explicitly stated.",
        "There is insufficient information on it.",
        "The role does not state it.",
        "It is a protein of unknown function.",
        "It remains to be seen.",
        "N/A for this protein.",
    ],
)
def test_evasive_answers(answer: str) -> None:
    assert wording.evasion(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "It does not bind zinc.",
        "It is not expressed in the liver.",
        "No, it is not needed for growth.",
        "It is well known to bind zinc.",
        "It describes a circle.",
        "It provides no protection to cells.",
        "It is specified by a distal enhancer.",
    ],
)
def test_answers_that_only_deny(answer: str) -> None:
    assert wording.evasion(answer) is None


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("Does this protein bind zinc?", "Yes, it does.", "yes_no"),
        ("Does this protein bind zinc?", "It binds zinc.", "yes_no"),
        ("In mice, is it needed?", "It is needed.", "yes_no"),
        ("Does it bind zinc or iron?", "It binds iron.", "open"),
        ("Does it bind zinc or iron?", "No, it binds neither.", "yes_no"),
        ("What does it bind?", "It binds zinc.", "open"),
        ("Which domains do it and its partner share?", "None are shared.", "open"),
        ("What does it bind?", "No-bind sites.", "open"),
        ("What does it bind?", "Nodes of Ranvier.", "open"),
    ],
)
def test_kinds(question: str, answer: str, kind: str) -> None:
    assert wording.kind_of(question, answer) == kind


def test_the_published_sample(real_data: Path) -> None:
    sample = json.loads((real_data / "qa" / "protein2text_sample.json").read_text(encoding="utf-8"))
    turns = [[turn["value"].removeprefix("<protein_sequence>\n") for turn in item["conversations"]] for item in sample]
    assert [wording.truncation(answer, min_words=3) is None for _, answer in turns] == [True, True, False]
    assert [wording.kind_of(*pair) for pair in turns] == ["yes_no", "yes_no", "open"]
    assert [wording.yes_or_no(answer) for _, answer in turns] == ["no", "yes", None]
    assert all(wording.asks_about_protein(*pair) for pair in turns)


def test_function_texts_of_the_benchmark_are_whole_or_say_how_they_are_not(real_data: Path) -> None:
    """They were stripped of references and joined, so many do not end like a sentence."""
    items = json.loads((real_data / "qa" / "microbiome_benchmark.json").read_text(encoding="utf-8"))
    answers = [item["conversations"][1]["value"] for item in items]
    unfinished = [answer for answer in answers if wording.truncation(answer, min_words=3)]
    assert unfinished == [answer for answer in answers if not answer.rstrip("\"')").endswith((".", "!", "?"))]
