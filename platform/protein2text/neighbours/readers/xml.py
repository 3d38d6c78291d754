"""Facts of a UniProt XML entry: every statement names its evidence by keys into a list at the entry's end."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from protein2text.data.evidence import strip_evidence
from protein2text.data.readers import uniprot_xml
from protein2text.data.readers.entries import Place
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.readers.fact_list import ECO_OF_QUALIFIER, Evidence, FactList, stated_evidence
from protein2text.neighbours.readers.features import add_feature

_FEATURES = {
    "domain": "DOMAIN",
    "binding site": "BINDING",
    "metal ion-binding site": "METAL",
    "nucleotide phosphate-binding region": "NP_BIND",
}


def characterise(raw: str, place: Place) -> Characterised:
    """The facts of one entry.

    Raises:
        UnusableRecord: what `uniprot_xml.element_of` refuses.
    """
    protein, entry = uniprot_xml.element_of(raw, place)
    return _EntryReader(entry).facts.of(protein, uniprot_xml.about(entry), place)


class _EntryReader:
    def __init__(self, entry: Element) -> None:
        self.facts = FactList()
        self._evidence = {node.get("key", ""): node for node in entry.findall("evidence")}
        self._read_names(entry)
        for comment in entry.findall("comment"):
            self._read_comment(comment)
        for reference in entry.findall("dbReference"):
            self._read_reference(reference)
        for feature in entry.findall("feature"):
            if feature.get("type") in _FEATURES:
                self._read_feature(feature)

    def _of(self, node: Element) -> Evidence:
        """Evidence that an element names; older files say ``status="by similarity"`` instead."""
        nodes = [self._evidence[key] for key in node.get("evidence", "").split() if key in self._evidence]
        codes = [node.get("type", "") for node in nodes]
        codes += [ECO_OF_QUALIFIER[status] for status in [node.get("status")] if status in ECO_OF_QUALIFIER]
        codes = [code for code in codes if code.startswith("ECO:")]
        return codes, [article for node in nodes for article in uniprot_xml.articles_of(node)]

    def _read_names(self, entry: Element) -> None:
        for kind in ("recommendedName", "submittedName"):
            full = entry.find(f"protein/{kind}/fullName")
            if full is not None:
                self.facts.add("name", full.text, self._of(full))
                break
        for number in entry.iterfind("protein/*/ecNumber"):
            self.facts.add_ec_numbers(number.text or "", self._of(number))
        for part in [*entry.iterfind("protein/component"), *entry.iterfind("protein/domain")]:
            called = part.findtext("recommendedName/fullName")
            for number in part.iterfind("*/ecNumber"):
                self.facts.add_ec_numbers(number.text or "", self._of(number), called)

    def _read_comment(self, comment: Element) -> None:
        kind, molecule = comment.get("type"), comment.findtext("molecule")
        if kind == "function":
            for text in comment.findall("text"):
                self.facts.add_function(text.text or "", self._both(text), molecule)
        elif kind == "similarity":
            for text in comment.findall("text"):
                self.facts.add_similarity(text.text or "", self._both(text))
        elif kind == "catalytic activity":
            self._read_reactions(comment, molecule)
        elif kind == "cofactor":
            self._read_cofactors(comment, molecule)
        elif kind == "subcellular location":
            for place in comment.findall("subcellularLocation"):
                for nodes in _parts_of(place):
                    value = ", ".join(strip_evidence(node.text or "") for node in nodes)
                    evidence = [self._both(node) for node in nodes]
                    codes, articles = ([item for one in evidence for item in one[side]] for side in (0, 1))
                    self.facts.add("location", value, (codes, articles), molecule=molecule)

    def _both(self, node: Element) -> Evidence:
        """Evidence that an element names and that its text holds."""
        named, held = self._of(node), stated_evidence(node.text or "")
        return (*named[0], *held[0]), (*named[1], *held[1])

    def _read_reactions(self, comment: Element, molecule: str | None) -> None:
        for text in comment.findall("text"):  # before 2018
            value = strip_evidence(text.text or "").rstrip(" .;")
            self.facts.add("reaction", value, self._both(text), molecule=molecule)
        for reaction in comment.findall("reaction"):
            evidence, rhea = self._of(reaction), reaction.find("dbReference[@type='Rhea']")
            name = (reaction.findtext("text") or "").rstrip(".")
            term = None if rhea is None else rhea.get("id")
            self.facts.add("reaction", name, evidence, term=term, molecule=molecule)
            for number in reaction.findall("dbReference[@type='EC']"):
                self.facts.add_ec_numbers(number.get("id", ""), evidence, molecule)

    def _read_cofactors(self, comment: Element, molecule: str | None) -> None:
        cofactors = comment.findall("cofactor")
        for cofactor in cofactors:
            chebi = cofactor.find("dbReference[@type='ChEBI']")
            term = None if chebi is None else chebi.get("id")
            self.facts.add("cofactor", cofactor.findtext("name"), self._of(cofactor), term=term, molecule=molecule)
        for text in () if cofactors else comment.findall("text"):  # before 2014; beside cofactors it is a note
            value = strip_evidence(text.text or "").rstrip(" .;")
            self.facts.add("cofactor", value, self._both(text), molecule=molecule)

    def _read_reference(self, reference: Element) -> None:
        kind, term = reference.get("type"), reference.get("id", "")
        if kind == "EC":
            self.facts.add_ec_numbers(term, self._of(reference))
        elif kind in ("GO", "InterPro", "Pfam"):
            properties = {node.get("type"): node.get("value", "") for node in reference.findall("property")}
            if kind == "GO":
                self.facts.add_go(term, properties["term"], properties["evidence"], self._of(reference))
            else:
                self.facts.add_signature(term, properties.get("entry name", ""))

    def _read_feature(self, feature: Element) -> None:
        key, place, evidence = _FEATURES[feature.get("type", "")], _place_of(feature), self._of(feature)
        note = feature.get("description", "")
        for ligand in feature.findall("ligand"):
            chebi = ligand.find("dbReference[@type='ChEBI']")
            named = {"ligand": ligand.findtext("name") or "", "ligand_id": "" if chebi is None else chebi.get("id", "")}
            add_feature(self.facts, key, place, named, evidence)
        if feature.find("ligand") is None:
            add_feature(self.facts, key, place, {"note": note}, evidence)


def _parts_of(place: Element) -> Iterator[list[Element]]:
    """A location, which older files write as the steps of its hierarchy, then topologies and orientations."""
    if locations := place.findall("location"):
        yield locations
    for kind in ("topology", "orientation"):
        for node in place.findall(kind):
            yield [node]


def _place_of(feature: Element) -> tuple[str, str]:
    """First and last residue as written; unknown where they are another isoform's."""
    location = feature.find("location")
    if location is None or location.get("sequence"):
        return "?", "?"
    position = location.find("position")
    nodes = [location.find(side) if position is None else position for side in ("begin", "end")]
    begin, end = ("?" if node is None else node.get("position", "?") for node in nodes)
    return begin, end
