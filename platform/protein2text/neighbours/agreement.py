"""Leave-one-out cases: proteins of an index asked as if they were not in it, and which of the cited facts are theirs.

What is compared with what:

- A protein is asked with its own accession left out. Entries of the same sequence under other accessions stay in, since
  a user's protein may be in the index too; they make the identity bin of 100 %, so that they flatter no other bin.
- For each kind of fact the selection is that of an answer. Every fact that it would cite is one case, placed by the
  identity and coverage of its first source. It agrees when the protein's own entry states a fact of the same term, or
  of the same wording. GO terms are compared as they are, without their ancestors; kinds of free text are not compared.
- An EC number of k stated digits makes a case at each level up to k. At each level it agrees when one of the protein's
  own numbers begins with the same digits; a protein without a number of so many digits makes no case there.
- A protein that states nothing of a kind makes no case of that kind: silence is not denial.
- Nor does a protein all of whose facts of a kind were themselves transferred: they may come from the very homologues
  that would be found right. The other way round it cannot be seen: a homologue's fact may have been transferred from
  the protein that is left out. Such facts say of themselves that they were transferred.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protein2text.neighbours.index_folder import NeighbourIndex

EC_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Case:
    """A fact that an answer would cite for a protein left out, and whether it is the protein's own."""

    accession: str
    kind: str
    level: int | None
    """Digits compared, of EC numbers."""
    identity: float
    coverage: float
    """The smaller of the two."""
    agrees: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """Which proteins were left out in turn."""

    seed: int
    max_entries: int
    num_eligible: int
    """Proteins of the index with a fact that can be compared and was not itself transferred."""
    num_drawn: int


def digits(number: str) -> int:
    """How many digits an EC number states: 3 of ``3.2.1.-``."""
    return len(number.partition("-")[0].rstrip(".").split("."))


def cases(index: "NeighbourIndex", *, max_entries: int, seed: int) -> tuple[Draw, Iterator[Case]]:
    """Cases of the proteins drawn."""
    raise NotImplementedError
