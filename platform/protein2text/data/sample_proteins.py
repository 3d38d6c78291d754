"""Proteins of the sample world: consensus domains, mutated members, one or two domains between random flanks.

Synthetic sequences. A family is conserved in blocks, as real alignments are (Henikoff & Henikoff, Nucleic Acids Res.
19:6565, 1991); between them it mutates freely, and the signature motif never changes. The seed decides all.
"""

import random
import re
from dataclasses import dataclass

from protein2text.data.sample_families import CATALYTIC, CONTEXT, FAMILIES, Family

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
MIN_DOMAIN, MAX_DOMAIN = 40, 80
MIN_IDENTITY, MAX_IDENTITY = 0.35, 0.60
CONSERVED_SHARE = 0.4
"""Share of a domain's columns, motif included, that mutate last."""
BLOCK_LENGTH = (6, 9)

_ELEMENT = re.compile(r"(?:\[([A-Z]+)\]|([A-Zx]))(?:\((\d+)\))?")


@dataclass(frozen=True)
class Domain:
    """A family's consensus, its motif columns (never mutated) and the order in which other columns mutate."""

    family: Family
    consensus: str
    motif_columns: frozenset[int]
    free_columns: tuple[int, ...]
    conserved_columns: tuple[int, ...]


@dataclass(frozen=True)
class SampleProtein:
    """A synthetic protein: accession, residues, and the families of its domains in sequence order."""

    accession: str
    sequence: str
    families: tuple[Family, ...]

    @property
    def facts(self) -> dict[str, str]:
        """Fact kind to value, from all domains."""
        return {kind: value for family in self.families for kind, value in family.facts.items()}

    @property
    def group(self) -> str:
        """Names of the families, sorted: the combination by which proteins are held out."""
        return "+".join(sorted(family.name for family in self.families))


def motif_columns(motif: str) -> list[str | None]:
    """Columns of a PROSITE pattern of fixed length: the first allowed letter, or None where any residue will do."""
    columns: list[str | None] = []
    for element in motif.split("-"):
        match = _ELEMENT.fullmatch(element)
        if match is None:
            raise ValueError(f"motif element {element!r} of {motif!r} is not fixed-length PROSITE syntax")
        letter = match[1][0] if match[1] else (None if match[2] == "x" else match[2])
        columns += [letter] * int(match[3] or 1)
    return columns


def build_domains(seed: int) -> dict[str, Domain]:
    """Consensus of every family, by name."""
    return {family.name: _build_domain(family, random.Random(f"{seed}/domain/{family.name}")) for family in FAMILIES}


def _build_domain(family: Family, rng: random.Random) -> Domain:
    length = rng.randint(MIN_DOMAIN, MAX_DOMAIN)
    consensus = rng.choices(RESIDUES, k=length)
    columns = motif_columns(family.motif)
    start = rng.randint(2, length - len(columns) - 2)
    fixed = {start + offset for offset, letter in enumerate(columns) if letter is not None}
    for offset, letter in enumerate(columns):
        if letter is not None:
            consensus[start + offset] = letter
    conserved = _conserved_blocks(length, fixed, rng)
    free = tuple(column for column in range(length) if column not in fixed and column not in conserved)
    return Domain(family, "".join(consensus), frozenset(fixed), free, tuple(sorted(conserved)))


def _conserved_blocks(length: int, fixed: set[int], rng: random.Random) -> set[int]:
    """Columns beside the motif that mutate last: runs of neighbors, up to ``CONSERVED_SHARE`` of the domain."""
    conserved: set[int] = set()
    while len(conserved | fixed) < round(CONSERVED_SHARE * length):
        start = rng.randrange(length)
        conserved |= set(range(start, min(start + rng.randint(*BLOCK_LENGTH), length))) - fixed
    return conserved


def mutate(domain: Domain, rng: random.Random) -> str:
    """A member of the family at an identity to the consensus drawn from ``MIN_IDENTITY`` to ``MAX_IDENTITY``."""
    length = len(domain.consensus)
    num_changed = length - round(rng.uniform(MIN_IDENTITY, MAX_IDENTITY) * length)
    order = rng.sample(domain.free_columns, len(domain.free_columns))
    order += rng.sample(domain.conserved_columns, len(domain.conserved_columns))
    member = list(domain.consensus)
    for column in order[:num_changed]:
        member[column] = rng.choice(RESIDUES.replace(member[column], ""))
    return "".join(member)


def make_protein(
    accession: str, families: tuple[Family, ...], domains: dict[str, Domain], rng: random.Random
) -> SampleProtein:
    """One protein: its domains in random order, between random flanks of 4 to 16 residues."""
    order = tuple(rng.sample(families, len(families)))
    parts = [_flank(rng)]
    for family in order:
        parts += [mutate(domains[family.name], rng), _flank(rng)]
    return SampleProtein(accession, "".join(parts), order)


def _flank(rng: random.Random) -> str:
    return "".join(rng.choices(RESIDUES, k=rng.randint(4, 16)))


def held_out_combinations(seed: int, share: float) -> set[tuple[str, str]]:
    """Pairs (catalytic, context) kept from training: a Latin-square pattern, so each family keeps training partners."""
    offsets = random.Random(f"{seed}/held-out").sample(range(len(CONTEXT)), round(share * len(CONTEXT)))
    return {
        (catalytic.name, CONTEXT[(row + offset) % len(CONTEXT)].name)
        for row, catalytic in enumerate(CATALYTIC)
        for offset in offsets
    }
