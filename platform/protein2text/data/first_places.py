"""Which names stood before in the sources, where, and whether they said the same there: a name is taken once."""

import pyarrow as pa

DOUBLED = ("duplicate_record", "duplicate_id")
"""Reasons for which what comes later under a name is refused: it says the same, or something else."""


class FirstPlaces:
    """Holds every name with its first place and a digest of what it said: some 500 bytes each."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str, bytes | None]] = {}

    def doubled(self, outcomes: pa.Table, column: str) -> dict[int, dict[str, str]]:
        """Take one batch of outcomes, and give what the quarantine says of those whose name stood before, by row.

        Args:
            outcomes: with ``reason`` (null where something was made), ``source``, ``place`` and ``content``.
            column: that holds the names.
        """
        doubled = {}
        columns = (outcomes[name].to_pylist() for name in (column, "reason", "source", "place", "content"))
        for number, (name, reason, *here) in enumerate(zip(*columns, strict=True)):
            if reason is None and (refusal := self.refusal(name, *here)):
                doubled[number] = refusal
        return doubled

    def refusal(self, name: str, source: str, place: str, content: bytes | None) -> dict[str, str] | None:
        """What the quarantine says of something under a name that stood before; None if it is the first."""
        own = (source, place, content)
        first = self._first.setdefault(name, own)
        if first is own:
            return None
        same = content is not None and content == first[2]
        says = "says the same" if same else "says something else"
        remedy = "Nothing is lost." if same else "Give the second another id, or leave it out."
        return {
            "record": name,
            "reason": DOUBLED[0 if same else 1],
            "value": name,
            "message": f"{name}, record id: it stands at {first[0]}, {first[1]} already, and {says} there; an id names "
            f"one record. {remedy}",
        }
