"""How often facts of proteins that lie near in an encoder's space, and do not align, are a protein's own.

Measured as agreement of homologues is (`agreement`): proteins of the index are left out in turn, and each fact of the
nearest ones that MMseqs2 does not find is compared with what the protein's own entry states. Bins are of cosine, and
hold equally many pairs, since each encoder has its own range of cosines.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from protein2text.data.records import read_card, write_json
from protein2text.errors import CorruptCheckpoint
from protein2text.neighbours import vectors
from protein2text.neighbours.agreement import Chosen, compared, draw
from protein2text.neighbours.calibration import Count, Frequency
from protein2text.neighbours.homologues import MAX_HOMOLOGUES, PROTEINS_AT_ONCE, Homologue, stream_homologues

if TYPE_CHECKING:
    import faiss

    from protein2text.neighbours.index_folder import NeighbourIndex

REMOTE_KINDS = ("ec", "molecular_function", "biological_process", "cellular_component", "location")
"""Kinds of facts that are compared."""
NUM_NEAREST = 3
"""Remote neighbours that are shown of a protein, and measured."""
NUM_BINS = 5
VERSION = 1


class Pair(NamedTuple):
    """A protein that was left out, and one that lies near and does not align."""

    accession: str
    neighbour: str
    cosine: float
    kinds: frozenset[str]
    """For which the protein was drawn."""


class RemoteCase(NamedTuple):
    """A fact of such a neighbour, and whether it is the protein's own."""

    accession: str
    kind: str
    level: int | None
    """Digits compared, of EC numbers."""
    cosine: float
    agrees: bool


class RemoteAgreement:
    """Measured frequencies of one index and encoder."""

    def __init__(self, edges: Sequence[float], counts: dict[tuple[str, int | None, int], Count]) -> None:
        """Take cosines between the bins, and what was counted in each: kind, digits, number of the bin."""
        self.edges, self.counts = tuple(edges), counts

    @classmethod
    def of(cls, cosines: Sequence[float], cases: Iterable[RemoteCase]) -> Self:
        """Count cases in bins that hold equally many of the pairs with these cosines."""
        shares = np.arange(1, NUM_BINS) / NUM_BINS
        edges = np.unique(np.quantile(cosines, shares).round(4)).tolist() if cosines else []
        told: dict[tuple[str, int | None, int], list[tuple[str, bool]]] = defaultdict(list)
        for case in cases:
            told[case.kind, case.level, _place(case.cosine, edges)].append((case.accession, case.agrees))
        return cls(edges, {key: Count.of(pairs) for key, pairs in told.items()})

    def frequencies(self, cosine: float) -> tuple[Frequency, ...]:
        """How often facts of neighbours as near were right, by kind and digits, where enough proteins were met."""
        place = _place(cosine, self.edges)
        name = f"cosine {self._name(place)}"
        keys = sorted((key for key in self.counts if key[2] == place), key=_order)
        quoted = (self.counts[key].quoted(key[0], key[1], name, "no alignment") for key in keys)
        return tuple(frequency for frequency in quoted if frequency is not None)

    def _name(self, place: int) -> str:
        if not self.edges:
            return "of any size"
        if place == 0:
            return f"below {self.edges[0]}"
        return (
            f"{self.edges[place - 1]} and above"
            if place == len(self.edges)
            else "-".join(str(edge) for edge in self.edges[place - 1 : place + 1])
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        bins = [[*key, *astuple(self.counts[key])] for key in sorted(self.counts, key=_order)]
        write_json({"version": VERSION, "edges": self.edges, "bins": bins}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CorruptCheckpoint: the file is of another version.
        """
        card = read_card(path)
        if card.get("version") != VERSION:
            problem = f"version {card.get('version')} where this program reads {VERSION}"
            raise CorruptCheckpoint(str(path.parent), path.name, problem, "Run `protein2text index embed` again.")
        return cls(card["edges"], {tuple(row[:3]): Count(*row[3:]) for row in card["bins"]})


def _place(cosine: float, edges: Sequence[float]) -> int:
    return int(np.searchsorted(edges, cosine, side="right"))


def _order(key: tuple[str, int | None, int]) -> tuple[int, int, int]:
    return REMOTE_KINDS.index(key[0]), key[1] or 0, key[2]


def measure(index: "NeighbourIndex", made: "faiss.Index", *, max_entries: int, seed: int) -> RemoteAgreement:
    """Leave proteins out in turn, and compare them with the nearest ones that MMseqs2 does not find.

    Args:
        index: of characterised proteins.
        made: their vectors, by number of the sequence.
        max_entries: most proteins left out.
        seed: of their draw, which is that of the calibration.

    Raises:
        ResourcesUnavailable: MMseqs2 does not run here.
    """
    _, proteins = draw(index, max_entries=max_entries, seed=seed)
    chosen = [(entry, kinds.intersection(REMOTE_KINDS)) for entry, kinds in proteins]
    chosen = [(entry, kinds) for entry, kinds in chosen if kinds]
    cosines: list[float] = []
    cases: list[RemoteCase] = []
    for pairs in _pairs(index, made, chosen):
        cosines += [pair.cosine for pair in pairs]
        cases += _cases(index, pairs)
    return RemoteAgreement.of(cosines, cases)


def _pairs(index: "NeighbourIndex", made: "faiss.Index", chosen: Sequence[Chosen]) -> Iterator[list[Pair]]:
    """The pairs of some proteins at a time.

    A protein with as many homologues as a search gives may have more of them: nothing is known of what is not found.
    """
    names = index.columns("accession", "target")
    target_of = dict(zip(names["accession"].to_pylist(), names["target"].to_pylist(), strict=True))
    owners: dict[str, list[Chosen]] = defaultdict(list)
    for entry, kinds in chosen:
        owners[entry.sequence].append((entry, kinds))
    stream = stream_homologues(index, list(owners))
    while batch := list(islice(stream, PROTEINS_AT_ONCE)):
        batch = [(sequence, found) for sequence, found in batch if len(found) < MAX_HOMOLOGUES]
        if not batch:
            continue
        own = [target_of[owners[sequence][0][0].accession] for sequence, _ in batch]
        known = [{target, *_targets(found, target_of)} for target, (_, found) in zip(own, batch, strict=True)]
        nearest = vectors.search(made, made.reconstruct_batch(np.array(own)), NUM_NEAREST + max(map(len, known)))
        yield [
            Pair(entry.accession, index.accessions_of(str(target))[0], cosine, kinds)
            for (sequence, _), without, near in zip(batch, known, nearest, strict=True)
            for cosine, target in [each for each in near if each[1] not in without][:NUM_NEAREST]
            for entry, kinds in owners[sequence]
        ]


def _targets(found: Sequence[Homologue], target_of: dict[str, int]) -> set[int]:
    return {target_of[homologue.accession] for homologue in found}


def _cases(index: "NeighbourIndex", pairs: Sequence[Pair]) -> Iterator[RemoteCase]:
    entries = index.entries({name for pair in pairs for name in (pair.accession, pair.neighbour)})
    for pair in pairs:
        for fact in entries[pair.neighbour].facts:
            if fact.kind in pair.kinds:
                own = [each for each in entries[pair.accession].facts if each.kind == fact.kind]
                for level, agrees in compared(fact, own):
                    yield RemoteCase(pair.accession, fact.kind, level, pair.cosine, agrees)
