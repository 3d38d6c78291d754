"""Proteins with every name they are known by, read from the files that ``data ingest`` reads, or from a corpus.

The readers make records to learn from and keep one name; here an entry without a function text is as good as any.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from protein2text.data.greek import GREEK_NAMES
from protein2text.data.readers.entries import Entry, Place, checked_protein, what_failed
from protein2text.data.readers.formats import detect, read_entries
from protein2text.data.records import iter_local
from protein2text.data.sources import expand, not_whole, short_names
from protein2text.errors import RecordError, UnusableRecord
from protein2text.proteins import Protein, accession_of

_UNREADABLE = (
    KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError, ElementTree.ParseError,
)  # fmt: skip
"""What fields that no schema promises raise."""
_FLAT_NAME = re.compile(r"(Full|Short|CD_antigen|Allergen)=(.+?);(?=\s|$)")
_FLAT_GENE = re.compile(r"(?:Name|Synonyms|OrderedLocusNames|ORFNames)=(.+?);(?=\s|$)")
_TAG = re.compile(r"\s*\{[^{}]*\}")
_PARTS = re.compile(r"\s*\[(?:Cleaved into|Includes):.*", re.DOTALL)
_NOT_A_NAME = re.compile(r"EC [\d.n-]+|Fragments?|Precursor|EC-number", re.IGNORECASE)
_NAMESPACE = re.compile(r"""\sxmlns(?::\w+)?\s*=\s*(?:"[^"]*"|'[^']*')""")
_LOWER_RUN = re.compile(r"[a-z]{4,}")
_FASTA_FIELD = re.compile(r"\s([A-Z]{2})=")


class ProteinName(NamedTuple):
    """One name; a symbol is written in a fixed case, other names in any."""

    text: str
    symbol: bool


@dataclass(frozen=True)
class NamedProtein:
    """A protein, what it is called, and the organism it is of."""

    protein: Protein
    names: tuple[ProteinName, ...]
    organism: str | None


@dataclass(frozen=True)
class Parsed:
    """Fields of an entry, not yet checked."""

    accession: str
    sequence: str
    full: list[str]
    symbols: list[str]
    organism: str | None = None


class NamedProteins:
    """The proteins of one or several sources, and what was refused of them."""

    def __init__(self, sources: list[str], max_residues: int) -> None:
        self.max_residues = max_residues
        self.refused: list[dict[str, str]] = []
        self.not_whole: list[tuple[str, str]] = []
        """Sources whose rest could not be read, and why."""
        self._proteins: dict[str, NamedProtein] = {}
        for path in sources:
            entries = _of_corpus(path) if (Path(path) / "card.json").is_file() else _of_files(path)
            for place, raw, parse in entries:
                self._take(place, raw, parse)

    def __iter__(self) -> Iterator[NamedProtein]:
        return iter(self._proteins.values())

    def __len__(self) -> int:
        return len(self._proteins)

    def _take(self, place: Place, raw: Any, parse: "Callable[[Any], list[Parsed]]") -> None:
        if isinstance(raw, Entry):  # its text is not whole
            self._refuse(place, "", raw.reason, raw.raw, raw.problem or "")
            return
        try:
            if isinstance(raw, str) and "\ufffd" in raw:
                raise ValueError("bytes that are not UTF-8 text")
            for parsed in parse(raw):
                self._add(parsed, place)
        except RecordError as error:
            self._refuse(place, error.record, error.reason, error.value, str(error))
        except _UNREADABLE as error:
            self._refuse(place, "", "unreadable", str(raw)[:200], f"{what_failed(error)}. Correct the entry.")

    def _add(self, parsed: Parsed, place: Place) -> None:
        limited = Place(place.source, place.place, self.max_residues)
        protein = checked_protein(parsed.accession, parsed.sequence, limited)
        names = [ProteinName(name, looks_like_symbol(name)) for name in parsed.full]
        names += [ProteinName(name, True) for name in parsed.symbols]
        before = self._proteins.get(protein.accession)
        if before is not None and before.protein.sequence != protein.sequence:
            raise UnusableRecord(
                "two_sequences", protein.accession, place.place, "another sequence than before",
                "an accession names one protein", "Leave one of the two out.",
            )  # fmt: skip
        known = before.names if before is not None else ()
        kept = tuple(dict.fromkeys([*known, *(name for name in names if name.text)]))
        organism = before.organism if before is not None and before.organism else parsed.organism
        self._proteins[protein.accession] = NamedProtein(protein, kept, organism)

    def _refuse(self, place: Place, record: str, reason: str, value: str, message: str) -> None:
        row = {"source": place.source, "place": place.place, "record": record}
        row |= {"reason": reason, "value": value[:200], "message": message}
        self.not_whole += not_whole([row])
        self.refused.append({**row, "reason": f"protein_{reason}"})


def looks_like_symbol(name: str) -> bool:
    """Whether a name is a symbol by its shape: one word with a digit or a second capital letter, and nothing in it that
    reads like a word (``TNF-alpha``, ``p27Kip1``, but not ``Interleukin-6``)."""
    capitals = sum(letter.isupper() for letter in name[1:])
    has_word = any(run not in GREEK_NAMES for run in _LOWER_RUN.findall(name))
    return " " not in name and not has_word and (capitals > 0 or any(letter.isdigit() for letter in name))


_Raw = tuple[Place, Any, "Callable[[Any], list[Parsed]]"]


def _of_files(source: str) -> Iterator[_Raw]:
    files = expand([source])
    for path, name in zip(files, short_names(files), strict=True):
        format_name = detect(path)
        for entry in read_entries(path, format_name):
            place = Place(name, entry.place, None)
            yield place, entry if entry.problem else entry.raw, _PARSERS[format_name]


def _of_corpus(folder: str) -> Iterator[_Raw]:
    for record in iter_local([folder], ["record_id", "proteins", "provenance"]):
        yield Place(Path(folder).name, record["record_id"], None), record, _corpus_record


def _corpus_record(record: dict[str, Any]) -> list[Parsed]:
    """Names as far as ingest kept them: no genes but those of a FASTA title."""
    provenance = json.loads(record["provenance"] or "{}")
    if "title" in provenance:
        (protein,) = record["proteins"]
        return [of_title(provenance["title"], protein["sequence"])]
    names = provenance.get("name") or ""
    listed = names if isinstance(names, list) else [names] * len(record["proteins"])
    return [
        Parsed(protein["accession"], protein["sequence"], names_of_cell(name), [], provenance.get("organism"))
        for protein, name in zip(record["proteins"], listed, strict=True)
    ]


def _tsv(raw: str) -> list[Parsed]:
    cells, header = ([cell.strip(" ") for cell in line.split("\t")] for line in raw.split("\n", 1))
    row = dict(zip(header, cells, strict=True))
    genes = re.split(r"[\s;/]+", row.get("Gene Names", "").strip())
    full = names_of_cell(row.get("Protein names", ""))
    return [Parsed(row["Entry"], row["Sequence"], full, [gene for gene in genes if gene], row.get("Organism") or None)]


def names_of_cell(cell: str) -> list[str]:
    """Names in UniProt's column "Protein names": the recommended one, then others in parentheses.

    A parenthesis holds another name if white space, or nothing more, follows it, unlike in ``tRNA (guanine(9)-N1)-x``.
    """
    text, others, depth, start = _PARTS.sub("", cell).strip(), [], 0, 0
    end = len(text)
    for position, letter in enumerate(text):
        if letter == "(":
            if depth == 0:
                start = position
            depth += 1
        elif letter == ")" and depth:
            depth -= 1
            closes_name = depth == 0 and text[position + 1 : position + 2] in ("", " ") and start > 0
            if closes_name and text[start - 1] == " ":
                end = min(end, start)
                others.append(text[start + 1 : position])
    names = [name.strip() for name in (text[:end], *others)]
    return [name for name in names if name and not _NOT_A_NAME.fullmatch(name)]


def _flat(raw: str) -> list[Parsed]:
    lines: dict[str, list[str]] = {}
    for line in raw.splitlines():
        lines.setdefault(line[:5].strip(), []).append(line[5:].strip())
    whole = _TAG.sub("", " ".join(lines.get("DE", []))).split("Contains:")[0].split("Includes:")[0]
    full = [text.strip() for kind, text in _FLAT_NAME.findall(whole) if kind == "Full"]
    symbols = [text.strip() for kind, text in _FLAT_NAME.findall(whole) if kind != "Full"]
    for names in _FLAT_GENE.findall(_TAG.sub("", " ".join(lines.get("GN", [])))):
        symbols += [name.strip() for name in names.split(",")]
    accession = lines["AC"][0].split(";")[0]
    return [Parsed(accession, "".join(lines.get("", [])), full, symbols, " ".join(lines.get("OS", [])).rstrip("."))]


def _xml(raw: str) -> list[Parsed]:
    if "<!DOCTYPE" in raw or "<!ENTITY" in raw:
        raise ValueError("a document type or entity inside an entry")
    entry = ElementTree.fromstring(_NAMESPACE.sub("", raw))
    kinds = ("recommendedName", "alternativeName", "submittedName")
    full = [node.text or "" for kind in kinds for node in entry.findall(f"protein/{kind}/fullName")]
    symbols = [node.text or "" for kind in kinds for node in entry.findall(f"protein/{kind}/shortName")]
    symbols += [node.text or "" for node in entry.findall("protein/cdAntigenName")]
    symbols += [node.text or "" for node in entry.findall("gene/name")]
    residues = entry.findtext("sequence") or ""
    return [
        Parsed(
            entry.findtext("accession") or "", residues, full, symbols,
            entry.findtext("organism/name[@type='scientific']"),
        )
    ]  # fmt: skip


def _json(raw: str) -> list[Parsed]:
    entry = json.loads(raw)
    if "conversations" in entry:
        return _question(entry)
    described = entry.get("proteinDescription") or {}
    groups = [described.get("recommendedName") or {}, *described.get("alternativeNames", [])]
    groups += described.get("submissionNames", [])
    full = [group["fullName"]["value"] for group in groups if "fullName" in group]
    symbols = [name["value"] for group in groups for name in group.get("shortNames", [])]
    symbols += [name["value"] for name in described.get("cdAntigenNames", [])]
    for gene in entry.get("genes") or []:
        kinds = ("synonyms", "orderedLocusNames", "orfNames")
        listed = [gene.get("geneName") or {}, *(name for kind in kinds for name in gene.get(kind, []))]
        symbols += [name["value"] for name in listed if "value" in name]
    organism = (entry.get("organism") or {}).get("scientificName")
    return [Parsed(entry["primaryAccession"], (entry.get("sequence") or {}).get("value", ""), full, symbols, organism)]


def _question(entry: dict[str, Any]) -> list[Parsed]:
    columns = [value if isinstance(value, list) else [value] for value in (entry["id"], entry["amino_seq"])]
    names = entry.get("protein") or ""
    listed = names if isinstance(names, list) else [names] * len(columns[0])
    rows = zip(columns[0], columns[1], listed, strict=True)
    return [Parsed(accession, sequence, names_of_cell(name or ""), []) for accession, sequence, name in rows]


def _fasta(raw: str) -> list[Parsed]:
    title, _, sequence = raw.strip().partition("\n")
    return [of_title(title.removeprefix(">"), sequence)]


def of_title(title: str, sequence: str) -> Parsed:
    """``sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606 GN=INS PE=1 SV=1``; other titles give no name."""
    _, _, described = title.partition(" ")
    name, *fields = _FASTA_FIELD.split(f"{described} ")
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    full = [name.strip()] if "OS" in values and name.strip() else []
    genes = [values["GN"].strip()] if values.get("GN") else []
    return Parsed(accession_of(title), sequence, full, genes, values.get("OS", "").strip() or None)


_PARSERS: dict[str, Callable[[str], list[Parsed]]] = {
    "fasta": _fasta,
    "json": _json,
    "uniprot-flat": _flat,
    "uniprot-tsv": _tsv,
    "uniprot-xml": _xml,
}
