"""What an index keeps of hostile texts: nothing that could steer a terminal or forge a line."""

import json

import pytest

from protein2text.data.readers.entries import Place
from protein2text.errors import UnusableRecord
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers.formats import characterise
from protein2text.neighbours.readers.presentable import presentable

PLACE = Place("hostile.json", "entry 0", None)


def rest(accession: str = "P00001", name: str = "Kinase", function: str = "Binds.", organism: str = "Mus") -> str:
    entry = {
        "primaryAccession": accession,
        "proteinDescription": {"recommendedName": {"fullName": {"value": name}}},
        "organism": {"scientificName": organism},
        "comments": [{"commentType": "FUNCTION", "texts": [{"value": function}]}],
        "sequence": {"value": "MKVLA"},
    }
    return json.dumps(entry)


def kept(raw: str) -> Characterised:
    return presentable(characterise("json", raw, PLACE)[0], PLACE)


@pytest.mark.parametrize("field", ["name", "function", "organism"])
def test_line_breaks_become_blanks(field: str) -> None:
    entry = kept(rest(**{field: "one\ntwo\u2028three\t four"}))
    said = [entry.name, entry.organism, *(fact.value for fact in entry.facts)]
    assert any(text and text.startswith("one two three four") for text in said)
    assert all(text is None or text.isprintable() for text in said)


@pytest.mark.parametrize("letter", ["\x1b[31m", "\x07", "\x00", "\u202e", "\u2066", "\x9b2J"])
@pytest.mark.parametrize("field", ["name", "function", "organism"])
def test_letters_that_steer_a_screen_refuse_the_entry(field: str, letter: str) -> None:
    with pytest.raises(UnusableRecord, match="P00001") as refused:
        kept(rest(**{field: f"Binds {letter} ATP"}))
    assert refused.value.reason == "control_letter"
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("accession", ["P1 2", "P1]", "\x1b[2J", "P" * 65, "É1"])
def test_an_accession_of_other_letters_refuses_the_entry(accession: str) -> None:
    with pytest.raises(UnusableRecord) as refused:
        kept(rest(accession))
    assert refused.value.reason == "bad_accession"
    assert str(refused.value).isprintable()
