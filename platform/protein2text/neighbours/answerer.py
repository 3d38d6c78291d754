"""Questions to answers from an index of characterised proteins; no model, no torch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from protein2text.neighbours.cited import CitedFact, DomainHit, NeighbourAnswer, Source

if TYPE_CHECKING:
    from protein2text.neighbours.index_folder import NeighbourIndex
    from protein2text.proteins import Protein

__all__ = ["CitedFact", "DomainHit", "NeighbourAnswer", "NeighbourAnswerer", "Source"]


class NeighbourAnswerer:
    """Answers from the facts of homologues in one index."""

    def __init__(self, index: "NeighbourIndex") -> None:
        self._index = index

    def answer(
        self,
        questions: Sequence[tuple[str, Sequence["Protein"]]],
        *,
        without: Mapping[int, frozenset[str]] | None = None,
    ) -> list[NeighbourAnswer]:
        """One answer per question, in order; all distinct proteins are searched in one run of MMseqs2.

        Args:
            questions: text and its proteins.
            without: accessions that may not ground the answer of the question with that number.
        """
        raise NotImplementedError
