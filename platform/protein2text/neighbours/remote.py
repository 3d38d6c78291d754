"""Remote neighbours of a protein without a homologue: near in an encoder's space, supported by no alignment.

They are shown beside a refusal and ground nothing. torch and the encoder are loaded for the first such protein alone.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from protein2text.neighbours import vectors, wording
from protein2text.neighbours.cited import RemoteNeighbour
from protein2text.neighbours.entries import Characterised
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.remote_agreement import NUM_NEAREST, RemoteAgreement
from protein2text.proteins import is_one_of

if TYPE_CHECKING:
    import faiss

    from protein2text.neighbours.embedder import Embedder

VECTORS, AGREEMENT = "vectors.faiss", "agreement.json"
"""Files of an index's embeddings."""


def open_remote(index: NeighbourIndex) -> "RemoteSearch | None":
    """What finds remote neighbours in an index; None for one without embeddings.

    Raises:
        ConfigError: it has embeddings, and faiss is not installed.
        CorruptCheckpoint: what was measured of them is of another version.
    """
    return None if index.embeddings is None else RemoteSearch(index)


class RemoteSearch:
    """The embeddings of one index."""

    def __init__(self, index: NeighbourIndex) -> None:
        vectors.require()
        assert index.embeddings is not None
        self._index, self._embeddings = index, index.embeddings
        self._folder = index.folder / str(index.embeddings["folder"])
        self._agreement = RemoteAgreement.load(self._folder / AGREEMENT)

    def beside(self, asked: Sequence[tuple[str, frozenset[str]]]) -> list[tuple[RemoteNeighbour, ...]]:
        """The nearest proteins of each sequence, the nearest first.

        Args:
            asked: residues, and accessions that are not shown: those that align with a part of it, or are left out.

        Raises:
            MissingWeights: the encoder is not where it was.
            CorruptCheckpoint: other weights lie there.
        """
        if not asked:
            return []
        distinct = {sequence: row for row, sequence in enumerate(dict.fromkeys(sequence for sequence, _ in asked))}
        made = self._embedder.vectors(list(distinct))
        num_nearest = NUM_NEAREST + max(len(without) for _, without in asked)
        found = vectors.search(self._vectors, made, num_nearest)
        near = [self._shown(found[distinct[sequence]], without) for sequence, without in asked]
        entries = self._index.entries({name for shown in near for name, _ in shown})
        return [tuple(self._neighbour(entries[name], cosine) for name, cosine in shown) for shown in near]

    def _neighbour(self, entry: Characterised, cosine: float) -> RemoteNeighbour:
        frequencies = self._agreement.frequencies(cosine)
        return RemoteNeighbour(entry, cosine, frequencies, wording.remote(entry, cosine, frequencies))

    def _shown(self, found: list[tuple[float, int]], without: frozenset[str]) -> list[tuple[str, float]]:
        """Of each sequence the first accession, unless one of them is not to be shown."""
        named = [(self._index.accessions_of(str(target)), cosine) for cosine, target in found]
        shown = [(names[0], cosine) for names, cosine in named if not any(is_one_of(name, without) for name in names)]
        return shown[:NUM_NEAREST]

    @cached_property
    def _vectors(self) -> "faiss.Index":
        return vectors.load(self._folder / VECTORS)

    @cached_property
    def _embedder(self) -> "Embedder":
        from protein2text.neighbours.embedder import open_described  # torch

        return open_described(self._index.folder, self._embeddings["encoder"])
