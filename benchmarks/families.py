"""Random proteins in families: log-normal lengths, heavy-tailed family sizes, members at 35 to 95 % identity."""

import math
import random
from collections.abc import Iterator

MEDIAN_RESIDUES, SIGMA, LIMITS = 294, 0.63, (30, 4000)
LARGEST_FAMILY, FAMILY_TAIL = 60, 1.6
LETTERS = "ARNDCQEGHILKMFPSTWYV"
PERCENT = (
    8.25, 5.53, 4.06, 5.46, 1.38, 3.93, 6.72, 7.07, 2.27, 5.91,
    9.65, 5.8, 2.41, 3.86, 4.74, 6.65, 5.36, 1.1, 2.92, 6.86,
)  # fmt: skip
"""Of residues in Swiss-Prot, letter by letter."""


def residues(rng: random.Random, length: int) -> str:
    """A random sequence of natural composition."""
    return "".join(rng.choices(LETTERS, PERCENT, k=length))


def member(rng: random.Random, ancestor: str) -> str:
    """A relative: substitutions at 5 to 65 % of the places, a few insertions and deletions; one in ten a fragment."""
    rate = rng.uniform(0.05, 0.65)
    foreign = iter(residues(rng, len(ancestor)))
    parts = [next(foreign) if rng.random() < rate else letter for letter in ancestor]
    for _ in range(rng.randrange(4)):
        place, length = rng.randrange(len(parts)), rng.randint(1, 8)
        parts[place : place + rng.choice((0, length))] = list(residues(rng, rng.choice((0, length))))
    start = rng.randrange(len(parts) // 2) if len(parts) > 80 and rng.random() < 0.1 else 0
    return "".join(parts[start : start + len(parts) // 2 if start else None]) or ancestor


def families(count: int, seed: int = 0) -> Iterator[tuple[int, str]]:
    """So many sequences, each after its family's number; the sizes of families follow a power law."""
    rng = random.Random(seed)
    made = number = 0
    while made < count:
        length = round(rng.lognormvariate(math.log(MEDIAN_RESIDUES), SIGMA))
        ancestor = residues(rng, min(max(length, LIMITS[0]), LIMITS[1]))
        family = min(int(rng.paretovariate(FAMILY_TAIL)), LARGEST_FAMILY, count - made)
        made += family
        yield number, ancestor
        yield from ((number, member(rng, ancestor)) for _ in range(family - 1))
        number += 1
