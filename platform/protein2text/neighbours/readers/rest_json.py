"""Facts of an entry of UniProt's REST service; evidence stands apart from every statement."""

from typing import Any

from protein2text.data.evidence import strip_evidence
from protein2text.data.readers import uniprot_json
from protein2text.data.readers.entries import Place
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers.fact_list import NO_EVIDENCE, Evidence, FactList
from protein2text.neighbours.readers.features import add_feature

_FEATURES = {
    "Domain": "DOMAIN",
    "Binding site": "BINDING",
    "Metal binding": "METAL",
    "Nucleotide binding": "NP_BIND",
}


def characterise(entry: dict[str, Any], place: Place) -> Characterised:
    """The facts of one entry.

    Raises:
        UnusableRecord: what `uniprot_json.protein_of` refuses.
    """
    protein, about, facts = uniprot_json.protein_of(entry, place), uniprot_json.about(entry), FactList()
    _add_names(facts, entry.get("proteinDescription") or {}, about["name"])
    for comment in entry.get("comments") or []:
        _add_comment(facts, comment)
    for reference in entry.get("uniProtKBCrossReferences") or []:
        _add_reference(facts, reference)
    for feature in entry.get("features") or []:
        _add_feature(facts, feature)
    return facts.of(protein, about, place)


def _evidence(stated: dict[str, Any]) -> Evidence:
    evidences = stated.get("evidences") or []
    codes = [item["evidenceCode"] for item in evidences]
    return codes, [item["id"] for item in evidences if item.get("source") == "PubMed"]


def _add_names(facts: FactList, described: dict[str, Any], name: str | None, molecule: str | None = None) -> None:
    several = ("alternativeNames", "submissionNames")
    first = described.get("recommendedName") or {}
    groups = [first, *(group for kind in several for group in described.get(kind) or [])]
    full = [stated for group in groups if (stated := group.get("fullName")) and stated["value"] == name]
    facts.add("name", name, _evidence(full[0]) if full else NO_EVIDENCE)
    for group in groups:
        for number in group.get("ecNumbers") or []:
            facts.add_ec_numbers(number["value"], _evidence(number), molecule)
    for part in (*(described.get("contains") or []), *(described.get("includes") or [])):
        called = ((part.get("recommendedName") or {}).get("fullName") or {}).get("value")
        _add_names(facts, part, None, called)


def _add_comment(facts: FactList, comment: dict[str, Any]) -> None:
    kind, molecule = comment.get("commentType"), comment.get("molecule")
    if kind == "FUNCTION":
        for text in comment.get("texts") or []:
            facts.add_function(text["value"], _evidence(text), molecule)
    elif kind == "SIMILARITY":
        for text in comment.get("texts") or []:
            facts.add_similarity(text["value"], _evidence(text))
    elif kind == "CATALYTIC ACTIVITY":
        reaction = comment["reaction"]
        ids = [item["id"] for item in reaction.get("reactionCrossReferences") or []]
        rhea = next((name for name in ids if name.startswith("RHEA:")), None)
        facts.add("reaction", reaction["name"].rstrip("."), _evidence(reaction), term=rhea, molecule=molecule)
        facts.add_ec_numbers(reaction.get("ecNumber") or "", _evidence(reaction), molecule)
    elif kind == "COFACTOR":
        for cofactor in comment.get("cofactors") or []:
            chebi = (cofactor.get("cofactorCrossReference") or {}).get("id")
            facts.add("cofactor", cofactor["name"], _evidence(cofactor), term=chebi, molecule=molecule)
    elif kind == "SUBCELLULAR LOCATION":
        for location in comment.get("subcellularLocations") or []:
            for part in filter(None, map(location.get, ("location", "topology", "orientation"))):
                value = strip_evidence(part["value"])
                facts.add("location", value, _evidence(part), term=part.get("id"), molecule=molecule)


def _add_reference(facts: FactList, reference: dict[str, Any]) -> None:
    database = reference["database"]
    if database not in ("GO", "InterPro", "Pfam"):
        return
    properties = {item["key"]: item["value"] for item in reference.get("properties") or []}
    if database == "GO":
        facts.add_go(reference["id"], properties["GoTerm"], properties["GoEvidenceType"], _evidence(reference))
    else:
        facts.add_signature(reference["id"], properties.get("EntryName", ""))


def _add_feature(facts: FactList, feature: dict[str, Any]) -> None:
    if feature["type"] not in _FEATURES:
        return
    location, ligand = feature["location"], feature.get("ligand") or {}
    of_isoform = location.get("sequence")
    place = tuple("?" if of_isoform else _position(location[side]) for side in ("start", "end"))
    chebi = ligand.get("id") or ""
    qualifiers = {"note": feature.get("description") or "", "ligand": ligand.get("name") or "", "ligand_id": chebi}
    add_feature(facts, _FEATURES[feature["type"]], (place[0], place[1]), qualifiers, _evidence(feature))


def _position(side: dict[str, Any]) -> str:
    known = side.get("modifier", "EXACT") in ("EXACT", "OUTSIDE")
    return str(side["value"]) if known and side.get("value") is not None else "?"
