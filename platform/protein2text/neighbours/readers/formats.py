"""Which reader of facts a file needs: the same names as `data.readers.formats`, which cuts and splits the files."""

from collections.abc import Callable

from protein2text.data.readers.entries import Place
from protein2text.data.readers.formats import json_entry
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers import asked, flat, rest_json, tsv, xml

_OF_DATABASES: dict[str, Callable[[str, Place], Characterised]] = {
    "fasta": asked.characterise_title,
    "uniprot-flat": flat.characterise,
    "uniprot-tsv": tsv.characterise,
    "uniprot-xml": xml.characterise,
}


def characterise(format_name: str, raw: str, place: Place) -> tuple[Characterised, bool]:
    """An entry's facts, and whether it is a question, of which there may be several about one protein.

    Args:
        format_name: a key of ``READERS``.
        raw: the entry's text, as its reader splits it off.
        place: where it stands.

    Raises:
        UnusableRecord: nothing can be made of it.
    """
    if format_name != "json":
        return _OF_DATABASES[format_name](raw, place), False
    schema, entry = json_entry(raw, place)
    if schema == "uniprot":
        return rest_json.characterise(entry, place), False
    return asked.characterise_question(entry, place), True
