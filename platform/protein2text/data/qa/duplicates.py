"""Exact and near duplicates among accepted pairs, within one protein and across proteins (R11, R15)."""

from dataclasses import dataclass

from protein2text.data.qa.rules import QaRules


@dataclass(frozen=True)
class Verdict:
    """What the pairs before it say about a pair."""

    reason: str | None
    """``duplicate`` or ``near_duplicate``, of a pair about the same protein; None when it stays."""
    message: str | None
    """Names the pair that was there first; None when it stays."""
    flags: tuple[str, ...]
    """``duplicate_across`` or ``near_duplicate_across`` where a pair about another protein was there first."""


class Duplicates:
    """Takes the accepted pairs of a whole corpus, one after the other; the same order gives the same verdicts.

    Within one protein a duplicate is refused. Across proteins it is true of both as often as not, so it stays and is
    flagged; `widespread` tells which pairs stand for so many proteins that they say little about any of them.
    """

    def __init__(self, rules: QaRules) -> None:
        self.rules = rules
        self._first: dict[str, str] = {}
        self._proteins: dict[str, set[str]] = {}
        self._members: dict[str, list[str]] = {}

    def add(self, pair_id: str, accession: str, question: str, answer: str) -> Verdict:
        """Compare a pair with all before it, and remember it.

        Args:
            pair_id: names the pair in messages and in `widespread`.
            accession: of its protein.
            question: as accepted by ``check_generated``,
            answer: likewise.
        """
        key = " ".join(f"{question}\n{answer}".casefold().split())
        first = self._first.setdefault(key, pair_id)
        proteins = self._proteins.setdefault(first, set())
        if accession in proteins:
            return Verdict("duplicate", f"the same as {first}", ())
        proteins.add(accession)
        self._members.setdefault(first, []).append(pair_id)
        return Verdict(None, None, ("duplicate_across",) if first != pair_id else ())

    def widespread(self) -> dict[str, int]:
        """Accepted pairs that stand, in the same or nearly the same words, for more than ``max_proteins`` proteins.

        Returns:
            Pair id to the number of proteins; ask after the last pair, for the flag ``many_proteins``.
        """
        return {
            pair_id: len(self._proteins[first])
            for first, members in self._members.items()
            if len(self._proteins[first]) > self.rules.max_proteins
            for pair_id in members
        }
