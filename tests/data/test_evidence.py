"""`data.evidence`: references leave the text, and nothing else does."""

import csv
import re
from pathlib import Path

import pyarrow as pa
import pytest

from protein2text.data.evidence import function_text, strip_evidence
from protein2text.data.parsing import cut_sources, parse_pieces
from protein2text.data.readers.formats import detect


def raw_functions(real_data: Path) -> list[str]:
    with (real_data / "uniprot" / "human_function.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["Function [CC]"] for row in rows if row["Function [CC]"]]


def words_without_references(raw: str) -> list[str]:
    """Oracle: walk the letters, skip every bracketed span that holds a reference, keep the rest."""
    kept, position = [], 0
    while position < len(raw):
        if raw[position] in "({":
            depth, end = 0, position
            while True:
                depth += (raw[end] in "({") - (raw[end] in ")}")
                if depth == 0:
                    break
                end += 1
            span = raw[position + 1 : end]
            items = [item.strip() for item in span.split(",")]
            if all(
                item.startswith(("PubMed:", "ECO:", "Ref.")) or item in ("By similarity", "Probable") for item in items
            ):
                position = end + 1
                continue
        kept.append(raw[position])
        position += 1
    return re.findall(r"[^\s.;]+", "".join(kept).replace("FUNCTION:", " "))


def test_nothing_is_left_behind_in_491_real_texts_and_no_word_is_lost(real_data: Path) -> None:
    raws = raw_functions(real_data)
    assert len(raws) == 491
    for raw in raws:
        text = function_text([raw]).text
        assert not re.search(r"PubMed|ECO:|Ref\.\d|[{}]|\((By similarity|Probable|Potential)\)|FUNCTION:", text), text
        assert not re.search(r"\s[.,;]|\.\.|;\s*\.|\s\s|\(\s*\)", text), text
        assert text.endswith(".")
        assert re.findall(r"[^\s.;]+", text) == words_without_references(raw)


LEFT_BEHIND = re.compile(
    r"PubMed|ECO:|\bRef\.|[{}]|by similarity|\((?:probable|potential)\)|FUNCTION:"  # references
    r"|\s[.,;:!?)]|\(\s|\(\s*\)|\s\s|^\s|\s$|[.,;:][.,;]|\( *[,;.]|[,;] *\)",  # and holes where they stood
    re.IGNORECASE,
)


def test_nothing_is_left_behind_by_any_reader_of_the_real_files(real_data: Path) -> None:
    folder = real_data / "uniprot"
    paths = [folder / "human_function.tsv", folder / "rest_entries.json"]
    paths += sorted((folder / "flatfile").iterdir()) + sorted((folder / "xml").iterdir())
    texts = []
    for path in paths:
        for piece in cut_sources(pa.Table.from_pylist([{"path": str(path), "format": detect(str(path))}])):
            texts += [text for text in parse_pieces(piece, max_residues=100_000)["text"].to_pylist() if text]
    assert len(texts) > 491 + 19 + 30
    assert [(found.group(), text) for text in texts if (found := LEFT_BEHIND.search(text))] == []
    for text in texts:
        assert [text.count(letter) for letter in "(["] == [text.count(letter) for letter in ")]"], text


def test_every_evidence_code_and_article_is_kept_as_metadata(real_data: Path) -> None:
    for raw in raw_functions(real_data):
        function = function_text([raw])
        assert set(function.evidence) == set(re.findall(r"ECO:\d+", raw))
        assert set(function.pubmed) == set(re.findall(r"PubMed:(\d+)", raw))
        assert len(set(function.pubmed)) == len(function.pubmed)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("FUNCTION: Binds ATP. {ECO:0000269|PubMed:1}.", "Binds ATP."),
        ("FUNCTION: Binds ATP (PubMed:1, PubMed:22). Splits it (By similarity).", "Binds ATP. Splits it."),
        ("Binds tRNA(Pro) and Ca(2+) (Probable)", "Binds tRNA(Pro) and Ca(2+)."),
        ("FUNCTION: A. {ECO:0000250}.; FUNCTION: [Isoform 2]: B (Ref.3).", "A. [Isoform 2]: B."),
        ("FUNCTION: May act (BY SIMILARITY) , with others.", "May act, with others."),
        ("FUNCTION: Acts via\n  two steps (PubMed:1; PubMed:2).", "Acts via two steps."),
        ("FUNCTION: Probable transcription factor.", "Probable transcription factor."),
        ("FUNCTION: {ECO:0000305}.", ""),
    ],
)
def test_texts(raw: str, text: str) -> None:
    assert function_text([raw]).text == text


def test_several_comments_become_one_text() -> None:
    assert function_text(["FUNCTION: One", "FUNCTION: Two. {ECO:0000269}."]).text == "One. Two."


def test_stripping_again_changes_nothing(real_data: Path) -> None:
    for raw in raw_functions(real_data):
        text = function_text([raw]).text
        assert strip_evidence(text) == text
