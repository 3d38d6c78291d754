"""A protein: its sequence, its checksum, and the one way in which user text becomes one."""

import gzip
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from protein2text.errors import (
    EmptySequence,
    InvalidResidue,
    MissingFile,
    NucleotideSequence,
    RecordError,
    SequenceTooLong,
)

ALPHABET = "ACDEFGHIKLMNPQRSTVWYXBZUO"
"""The twenty amino acids, X (unknown), B and Z (ambiguous), U (selenocysteine), O (pyrrolysine); IUPAC and ESM-2."""
NUCLEOTIDES = frozenset("ACGTUN")
NUCLEOTIDES_FROM = 20
"""Letters from which on a sequence of nothing but three or more nucleotide letters is taken for DNA or RNA."""

MAX_TEXT_BYTES = 100 * 2**20
"""Most text that is read at once; `protein2text data ingest` streams larger files."""

UNIPROT_ACCESSION = r"(?:[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2})"
"""A pattern of accessions as UniProt forms them (https://www.uniprot.org/help/accession_numbers)."""
_ISOFORM = re.compile(rf"({UNIPROT_ACCESSION})-\d+")
"""UniProt's form: the entry's accession, hyphen, number. Names like ``sample-1`` are none."""
_GZIP_MAGIC = b"\x1f\x8b"
_OTHER_LETTER = re.compile(f"[^{''.join(sorted(NUCLEOTIDES))}]")
_UTF16_MAGIC = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Protein:
    """An accession and its residues, upper case, letters of ``ALPHABET`` only when made by ``parse_protein``."""

    accession: str
    sequence: str

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the sequence, hexadecimal: the key under which everything about a sequence is cached."""
        return hashlib.sha256(self.sequence.encode("ascii")).hexdigest()

    def __len__(self) -> int:
        return len(self.sequence)


def clean_sequence(sequence: str, *, record: str, max_residues: int | None = None, alphabet: str = ALPHABET) -> str:
    """Upper-case residues without white space or a closing stop sign.

    Args:
        sequence: as a user typed it; lower case, line breaks and one trailing ``*`` are accepted.
        record: what to call it in an error.
        max_residues: longest length allowed; no limit when None.
        alphabet: letters that the encoder can read, upper case.

    Raises:
        EmptySequence: nothing is left.
        InvalidResidue: a letter outside the alphabet, with its number among the residues, line and column, from 1.
        NucleotideSequence: DNA or RNA by its letters; proteins of ``NUCLEOTIDES_FROM`` residues use more of them.
        SequenceTooLong: more than ``max_residues``.
    """
    typed = "".join(sequence.split()).removesuffix("*")
    if not typed:
        raise EmptySequence(record)
    letters = _letters(alphabet)
    if typed.encode("ascii", "replace").translate(None, letters):
        known = letters.decode()
        position, letter = next((number, letter) for number, letter in enumerate(typed, 1) if letter not in known)
        line, column = _place_of(_plain_lines(sequence), 0, position)
        raise InvalidResidue(record, position, letter, alphabet, line, column)
    residues = typed.upper()
    if len(residues) >= NUCLEOTIDES_FROM and not _OTHER_LETTER.search(residues) and len(set(residues)) >= 3:
        raise NucleotideSequence(record, len(residues))
    if max_residues is not None and len(residues) > max_residues:
        raise SequenceTooLong(record, len(residues), max_residues)
    return residues


@lru_cache(maxsize=8)
def _letters(alphabet: str) -> bytes:
    """What a residue may be; compared before upper-casing, which makes two serines of a German sharp s."""
    return (alphabet + alphabet.lower()).encode("ascii")


def parse_proteins(
    text: str, *, record: str = "input", max_residues: int | None = None, alphabet: str = ALPHABET
) -> list[Protein]:
    """Read a raw sequence or FASTA text of one or more records (Biopython's reader).

    Line ends of any system, blank lines and a byte-order mark are accepted.

    Raises:
        EmptySequence: no sequence at all.
        RecordError: more text than ``MAX_TEXT_BYTES``, or any record that ``clean_sequence`` refuses; lines and columns
            are those of ``text``.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise _too_much(record)
    text = _plain_lines(text.removeprefix("\ufeff"))
    if ">" not in text:
        return [Protein(record, clean_sequence(text, record=record, max_residues=max_residues, alphabet=alphabet))]
    if not text.lstrip().startswith(">"):
        limit = "FASTA begins with '>' and a title"
        remedy = "Remove that text, or put '>' and a name before it."
        raise RecordError(record, f"line {_first_line(text)}", "text before the first '>'", limit, remedy)
    return list(_fasta(text, record, max_residues, alphabet))


def _fasta(text: str, record: str, max_residues: int | None, alphabet: str) -> Iterator[Protein]:
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    text = "\n".join(line.lstrip() if line.lstrip().startswith(">") else line for line in text.split("\n"))
    for number, (title, sequence) in enumerate(SimpleFastaParser(io.StringIO(text)), start=1):  # type: ignore[no-untyped-call]
        name = accession_of(title) or f"{record} record {number}"
        try:
            residues = clean_sequence(sequence, record=name, max_residues=max_residues, alphabet=alphabet)
        except InvalidResidue as error:
            line, column = _place_of(text, number, error.position)
            raise InvalidResidue(name, error.position, error.letter, alphabet, line, column) from None
        except EmptySequence:
            raise EmptySequence(name, _place_of(text, number, 0)[0]) from None
        yield Protein(name, residues)


def parse_protein(
    text: str, *, record: str = "input", max_residues: int | None = None, alphabet: str = ALPHABET
) -> Protein:
    """Read exactly one protein, raw or FASTA.

    Raises:
        RecordError: several records, or anything ``parse_proteins`` refuses.
    """
    return one_protein(parse_proteins(text, record=record, max_residues=max_residues, alphabet=alphabet), record)


def one_protein(proteins: Sequence[Protein], record: str) -> Protein:
    """The only one of some proteins.

    Raises:
        RecordError: there are several.
    """
    if len(proteins) != 1:
        raise RecordError(record, "FASTA", f"{len(proteins)} records", "exactly 1 is expected here", "Give one record.")
    return proteins[0]


def read_proteins(path: str | Path, *, max_residues: int | None = None, alphabet: str = ALPHABET) -> list[Protein]:
    """Read a file of one raw sequence or of FASTA records, gzipped or not.

    Raises:
        MissingFile: no such file.
        RecordError: larger than ``MAX_TEXT_BYTES`` unpacked, damaged or no UTF-8 text, or refused by
            ``parse_proteins``.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(str(path), "proteins", "Check the path.")
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            content = stream.read(MAX_TEXT_BYTES + 1)
    except (EOFError, OSError) as error:
        raise RecordError(str(path), "file", str(error), "it cannot be read", "Copy or download it again.") from None
    if len(content) > MAX_TEXT_BYTES:
        raise _too_much(str(path))
    return parse_proteins(_decoded(content, path), record=str(path), max_residues=max_residues, alphabet=alphabet)


def accession_of(title: str) -> str:
    """Accession in a FASTA title: the middle field of ``sp|P01308|INS_HUMAN``, else the first word."""
    word = title.split(maxsplit=1)[0] if title.strip() else ""
    parts = word.split("|")
    return parts[1] if len(parts) >= 3 and parts[0] in {"sp", "tr"} else word


def entry_of(accession: str) -> str:
    """Accession of the entry that an isoform belongs to: ``P0C2S4`` of ``P0C2S4-2``; of all others their own."""
    isoform = _ISOFORM.fullmatch(accession)
    return isoform[1] if isoform else accession


def is_one_of(accession: str, names: frozenset[str]) -> bool:
    """Whether an accession, or that of the entry that it is an isoform of, is among some."""
    return accession in names or entry_of(accession) in names


def _plain_lines(text: str) -> str:
    """The same lines and columns, every line ended by a line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _place_of(text: str, record: int, position: int) -> tuple[int, int]:
    """Line and column, from 1, of a FASTA record's residue; record 0 is the text before any title.

    Args:
        position: number of the residue among those of its record, from 1; 0 is the record's title.
    """
    records = residues = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if record and line.startswith(">"):
            records += 1
            if records == record and position == 0:
                return number, 1
        elif records == record:
            for column, letter in enumerate(line, start=1):
                residues += not letter.isspace()
                if residues == position:
                    return number, column
    raise AssertionError("the reader found the residue in this text")


def _first_line(text: str) -> int:
    """Number of the first line that is not blank."""
    return 1 + text[: len(text) - len(text.lstrip())].count("\n")


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if content.startswith(_UTF16_MAGIC) else f"byte {content[error.start]:#04x}"
        line = content[: error.start].count(b"\n") + 1
        raise RecordError(str(path), f"line {line}", kind, "text must be UTF-8", "Save the file as UTF-8.") from None


def _too_much(record: str) -> RecordError:
    limit = f"at most {MAX_TEXT_BYTES >> 20} MiB are read at once"
    remedy = "Split it, or use `protein2text data ingest`, which streams."
    return RecordError(record, "text", f"above {MAX_TEXT_BYTES >> 20} MiB", limit, remedy)
