"""Writes a flat file that looks like Swiss-Prot's, of any size, and tells what is wrong with which entries.

    python benchmarks/swissprot_like.py 400000 swissprot_like.dat --malformed 0.001

An entry takes some 3.3 kB: references, a FUNCTION comment with evidence in four entries of five, other comments,
cross-references, features and the sequence. The proteins are random and mean nothing; a program that needs homologues
gives sequences with the numbers of their families, whose members then share most of what is said of them.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

RESIDUES = "AAAAAAAALLLLLLLLLLGGGGGGGVVVVVVVEEEEEEESSSSSSSIIIIIIKKKKKKRRRRRDDDDDTTTTTPPPPPNNNNQQQQFFFFYYYMMMHHCCW"
_AS_RESIDUES = bytes(ord(RESIDUES[byte % len(RESIDUES)]) for byte in range(256))
WITH_FUNCTION, TWINS = 0.8, 0.14
"""Shares of entries that have a FUNCTION comment, and of those whose sequence another entry has too."""
MALFORMED = ("unreadable", "length_mismatch", "invalid_residue", "not_utf8", "too_long", "no_accession", "duplicate_id")
VERBS = ("Catalyzes", "Binds", "Regulates", "Inhibits", "Mediates", "Controls", "Participates in", "Is required for")
THINGS = (
    "the transfer of a phosphate group", "the hydrolysis of 5-oxoproline", "Ca(2+)-dependent exocytosis",
    "the assembly of the small ribosomal subunit", "transcription from promoters with a TATA box", "cell division",
    "the uptake of branched-chain amino acids", "the repair of double-strand breaks", "actin filaments at the edge",
    "the N- and C-terminal domains of its partner", "1-acyl-sn-glycero-3-phosphate", "the export of mRNA",
    "long-chain fatty acids", "the reduction of NADP(+)", "light-driven proton transport",
)  # fmt: skip
ENDINGS = (
    "in the presence of Mg(2+)", "during the S phase of the cell cycle", "at low oxygen", "together with its paralog",
    "in response to osmotic stress", "and thereby maintains the membrane potential", "in the endoplasmic reticulum",
)  # fmt: skip
LOCATIONS = ("Cytoplasm", "Nucleus", "Cell membrane", "Secreted", "Mitochondrion", "Endoplasmic reticulum")
STRAY = 0.15
"""Share of statements in which a member of a family differs from the rest, and of entries with experiments."""
ORGANISMS = ("Homo sapiens (Human)", "Mus musculus (Mouse)", "Escherichia coli (strain K12)", "Bacillus subtilis")
FOOTER = """\
CC   ---------------------------------------------------------------------------
CC   Copyrighted by the UniProt Consortium, see https://www.uniprot.org/terms
CC   Distributed under the Creative Commons Attribution (CC BY 4.0) License
CC   ---------------------------------------------------------------------------
"""


def write_flat_file(
    path: Path,
    num_entries: int,
    *,
    seed: int = 0,
    malformed: float = 0.0,
    families: Iterable[tuple[int, str]] = (),
) -> dict[str, int]:
    """Write the file, and return how many entries a reader must refuse for which reason, the rest as ``records``.

    Args:
        path: the file.
        num_entries: of them all.
        seed: another seed is another file.
        malformed: share of entries, 0-1, that are broken in one of the ways of ``MALFORMED``, in turn.
        families: a family's number and residues for each entry; otherwise the sequences are made here, unrelated.
    """
    told: Counter[str] = Counter()
    with path.open("wb") as file:
        for reason, entry in _entries(num_entries, random.Random(seed), malformed, iter(families)):
            told[reason] += 1
            file.write(entry)
    return dict(told)


def _entries(
    num_entries: int, rng: random.Random, malformed: float, families: Iterator[tuple[int, str]]
) -> Iterator[tuple[str, bytes]]:
    sentences = [_sentence(rng) for _ in range(3000)]
    sequence, good = "", ""
    for number in range(num_entries):
        family, given = next(families, (None, ""))
        if given:
            sequence = given
        elif not sequence or rng.random() >= TWINS:
            length = round(min(max(rng.lognormvariate(5.68, 0.63), 30), 4000))
            sequence = "M" + rng.randbytes(length - 1).translate(_AS_RESIDUES).decode()
        accession = f"{'OPQ'[number % 3]}{number:08X}"
        reason = "records" if rng.random() < WITH_FUNCTION else "no_function"
        if good and rng.random() < malformed:
            reason = MALFORMED[number % len(MALFORMED)]
        function = "" if reason == "no_function" else _function(rng, sentences)
        text = _broken(rng, reason, accession, sequence, function, good, _statements(rng, family))
        yield reason, text.encode("latin-1")
        good = accession if reason == "records" else good


def _broken(
    rng: random.Random, reason: str, accession: str, sequence: str, function: str, good: str, said: "_Statements"
) -> str:
    """An entry with the defect that its reason names, if it names one; ``good`` is a healthy entry's accession."""
    changes = {
        "length_mismatch": {"stated": len(sequence) + 1},
        "invalid_residue": {"sequence": f"{sequence[:-1]}J"},
        "not_utf8": {"organism": "B\u00fcndelpilz"},
        "too_long": {"sequence": "MKVL" * 1100},
        "no_accession": {"accession": ""},
        "duplicate_id": {"accession": good},
    }.get(reason, {})
    entry = _entry(rng, said, **{"accession": accession, "sequence": sequence, "function": function, **changes})
    return entry.replace("OS   ", "O?   ", 1) if reason == "unreadable" else entry


def _sentence(rng: random.Random) -> str:
    text = f"{rng.choice(VERBS)} {rng.choice(THINGS)} {rng.choice(ENDINGS)}"
    if rng.random() < 0.3:
        text += f" (PubMed:{rng.randrange(10**7, 4 * 10**7)}, PubMed:{rng.randrange(10**7, 4 * 10**7)})"
    return f"{text} (By similarity)." if rng.random() < 0.1 else f"{text}."


def _function(rng: random.Random, sentences: list[str]) -> str:
    """One FUNCTION comment of one to four sentences and its evidence, wrapped as UniProt wraps it."""
    text = " ".join(rng.choices(sentences, k=rng.randint(1, 4)))
    tag = f"{{ECO:0000269|PubMed:{rng.randrange(10**7, 4 * 10**7)}, ECO:0000250|UniProtKB:P{rng.randrange(10000):05}}}"
    return _wrapped("CC   -!- FUNCTION: ", "CC       ", f"{text} {tag}.")


def _wrapped(first: str, rest: str, text: str) -> str:
    lines, line = [], first
    for word in text.split(" "):
        if len(line) + len(word) > 76 and line.strip() != rest.strip():
            lines.append(line.rstrip())
            line = rest
        line += f"{word} "
    return "\n".join([*lines, line.rstrip()]) + "\n"


def _sequence_block(sequence: str) -> str:
    tens = [sequence[at : at + 10] for at in range(0, len(sequence), 10)]
    return "".join(f"     {' '.join(tens[at : at + 6])}\n" for at in range(0, len(tens), 6))


class _Statements(NamedTuple):
    """What a family shares, in the flat file's words."""

    ec: str
    location: str
    terms: str
    family: int


def _statements(rng: random.Random, family: int | None) -> _Statements:
    """Of a member of a family, which strays at times; anything where there is no family."""
    about = rng.randrange(10**6) if family is None else family
    fourth, location = (about + (rng.random() < STRAY) for _ in "12")
    article = rng.randrange(10**7, 4 * 10**7)
    proven = rng.random() < STRAY
    evidence = f"{{ECO:0000269|PubMed:{article}}}" if proven else f"{{ECO:0000255|HAMAP-Rule:MF_{about % 9999:05}}}"
    terms = "".join(
        f"DR   GO; GO:{about * 7919 % 10**7 + place:07}; {letter}:{THINGS[about % len(THINGS)]}; {code}.\n"
        for place, (letter, code) in enumerate(
            (("F", "IDA:UniProtKB" if proven else "IEA:UniProtKB-KW"), ("P", "IEA:InterPro"), ("C", "NAS:UniProtKB"))
        )
        if rng.random() >= STRAY
    )
    return _Statements(
        f"EC=2.7.{about % 9 + 1}.{fourth % 40 + 1}", f"{LOCATIONS[location % len(LOCATIONS)]} {evidence}", terms, about
    )


def _entry(
    rng: random.Random,
    said: _Statements,
    accession: str,
    sequence: str,
    function: str,
    stated: int | None = None,
    organism: str = "",
) -> str:
    length, number, article = stated or len(sequence), rng.randrange(10**7), rng.randrange(10**7, 4 * 10**7)
    name, rule = f"Y{number:07}", f"{{ECO:0000255|HAMAP-Rule:MF_{number % 9999:05}}}"
    references = "".join(
        f"RN   [{count}]\nRP   NUCLEOTIDE SEQUENCE [LARGE SCALE GENOMIC DNA], AND FUNCTION.\n"
        f"RC   STRAIN=ATCC {number % 30000};\nRX   PubMed={article + count}; DOI=10.1000/j.{article}.{count};\n"
        "RA   Meier A., Smith B.C., Garcia-Lopez M., Tanaka K., Ivanova O.P., Dubois J.-P.;\n"
        'RT   "The complete genome and the proteins that it tells of, with a closer look\nRT   at one of them.";\n'
        f"RL   J. Synth. Biol. {number % 300}:{article % 900}-{article % 900 + 9}(2019).\n"
        for count in range(1, 2 + number % 2)
    )
    links = "".join(
        f"DR   {store}; {accession}{count:02}; -; {count}.\n"
        for count, store in enumerate(("EMBL", "RefSeq", "SMR", "STRING", "KEGG", "OMA"))
    )
    features = "".join(
        f'FT   BINDING         {at}\nFT                   /ligand="ATP"\n'
        f'FT                   /ligand_id="ChEBI:CHEBI:30616"\nFT                   /evidence="{rule[1:-1]}"\n'
        for at in sorted(rng.sample(range(2, 30), 3))
    )
    return (
        f"ID   {name + '_SYNTH':<24}Reviewed;  {length:>10} AA.\nAC   {accession}; Z{number:07};\n"
        "DT   01-MAR-2005, integrated into UniProtKB/Swiss-Prot.\nDT   23-JAN-2007, sequence version 1.\n"
        f"DT   28-JAN-2026, entry version {number % 200 + 1}.\n"
        f"DE   RecName: Full=Synthetic protein {number} {rule};\n"
        f"DE            Short=SP{number};\nDE            {said.ec};\n"
        f"GN   Name=syn{number}; OrderedLocusNames=b{number:07};\nOS   {organism or rng.choice(ORGANISMS)}.\n"
        "OC   Bacteria; Pseudomonadota; Gammaproteobacteria; Enterobacterales;\nOC   Enterobacteriaceae; Escherichia.\n"
        f"OX   NCBI_TaxID={number % 90000 + 1};\n{references}{function}"
        f"CC   -!- SUBUNIT: Homodimer. {rule}.\nCC   -!- SUBCELLULAR LOCATION: {said.location}.\n"
        f"CC   -!- SIMILARITY: Belongs to the synthetic protein family {said.family}. {{ECO:0000305}}.\n{FOOTER}"
        f"{links}{said.terms}PE   3: Inferred from homology;\nKW   ATP-binding; Cytoplasm; Reference proteome.\n"
        f'FT   CHAIN           1..{length}\nFT                   /note="Synthetic protein {number}"\n'
        f'FT                   /id="PRO_{number:010}"\n{features}'
        f"SQ   SEQUENCE   {length} AA;  {length * 110} MW;  {number:016X} CRC64;\n{_sequence_block(sequence)}//\n"
    )


def main() -> None:
    """Write a file and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", type=int, help="how many")
    parser.add_argument("path", type=Path, help="file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--malformed", type=float, default=0.0, help="share of broken entries, 0-1")
    arguments = parser.parse_args()
    told = write_flat_file(arguments.path, arguments.entries, seed=arguments.seed, malformed=arguments.malformed)
    sys.stdout.write(json.dumps({"bytes": arguments.path.stat().st_size, **told}) + "\n")


if __name__ == "__main__":
    main()
