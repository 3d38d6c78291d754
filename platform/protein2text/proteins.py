"""A protein: its sequence, its checksum, and the one way in which user text becomes one."""

import hashlib
import io
import re
from dataclasses import dataclass
from functools import cached_property

from protein2text.errors import EmptySequence, InvalidResidue, RecordError, SequenceTooLong

ALPHABET = "ACDEFGHIKLMNPQRSTVWYXBZUO"
"""The twenty amino acids, X (unknown), B and Z (ambiguous), U (selenocysteine), O (pyrrolysine); IUPAC and ESM-2."""

_FOREIGN = re.compile(f"[^{ALPHABET}{ALPHABET.lower()}]")
"""Looked for before upper-casing, which makes two serines of a German sharp s."""


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


def clean_sequence(sequence: str, *, record: str, max_residues: int | None = None) -> str:
    """Upper-case residues without white space or a closing stop sign.

    Args:
        sequence: as a user typed it; lower case, line breaks and one trailing ``*`` are accepted.
        record: what to call it in an error.
        max_residues: longest length allowed; no limit when None.

    Raises:
        EmptySequence: nothing is left.
        InvalidResidue: a letter outside ``ALPHABET``, with its position counted from 1 in the residues.
        SequenceTooLong: more than ``max_residues``.
    """
    typed = "".join(sequence.split()).removesuffix("*")
    if not typed:
        raise EmptySequence(record)
    if foreign := _FOREIGN.search(typed):
        raise InvalidResidue(record, foreign.start() + 1, foreign.group(), ALPHABET)
    residues = typed.upper()
    if max_residues is not None and len(residues) > max_residues:
        raise SequenceTooLong(record, len(residues), max_residues)
    return residues


def parse_proteins(text: str, *, record: str = "input", max_residues: int | None = None) -> list[Protein]:
    """Read a raw sequence or FASTA text of one or more records (Biopython's reader).

    Raises:
        EmptySequence: no sequence at all.
        RecordError: any record that ``clean_sequence`` refuses.
    """
    if ">" not in text:
        return [Protein(record, clean_sequence(text, record=record, max_residues=max_residues))]
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    if not text.lstrip().startswith(">"):
        raise RecordError(
            record, "first line", "text before the first '>'", "FASTA starts with '>'", "Remove that text."
        )
    proteins = []
    records = SimpleFastaParser(io.StringIO(text.lstrip()))  # type: ignore[no-untyped-call]
    for number, (title, sequence) in enumerate(records, start=1):
        name = accession_of(title) or f"{record} record {number}"
        proteins.append(Protein(name, clean_sequence(sequence, record=name, max_residues=max_residues)))
    return proteins


def parse_protein(text: str, *, record: str = "input", max_residues: int | None = None) -> Protein:
    """Read exactly one protein, raw or FASTA.

    Raises:
        RecordError: several records, or anything ``parse_proteins`` refuses.
    """
    proteins = parse_proteins(text, record=record, max_residues=max_residues)
    if len(proteins) != 1:
        raise RecordError(record, "FASTA", f"{len(proteins)} records", "exactly 1 is expected here", "Give one record.")
    return proteins[0]


def accession_of(title: str) -> str:
    """Accession in a FASTA title: the middle field of ``sp|P01308|INS_HUMAN``, else the first word."""
    word = title.split(maxsplit=1)[0] if title.strip() else ""
    parts = word.split("|")
    return parts[1] if len(parts) >= 3 and parts[0] in {"sp", "tr"} else word
