"""Which reader of facts a file needs: the same names as `data.readers.formats`, which cuts and splits the files."""

from collections.abc import Callable

from protein2text.data.readers.entries import Place
from protein2text.data.readers.formats import json_entry
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers import asked, flat, rest_json, tsv, xml


def _characterise_json(raw: str, place: Place) -> Characterised:
    """A REST entry or a question, told by its keys."""
    schema, entry = json_entry(raw, place)
    return rest_json.characterise(entry, place) if schema == "uniprot" else asked.characterise_question(entry, place)


CHARACTERISE: dict[str, Callable[[str, Place], Characterised]] = {
    "fasta": asked.characterise_title,
    "json": _characterise_json,
    "uniprot-flat": flat.characterise,
    "uniprot-tsv": tsv.characterise,
    "uniprot-xml": xml.characterise,
}
