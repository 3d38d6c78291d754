"""Numbers as every card holds them: what is left after each stage, and how many lie between two bounds."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

READING_STAGES = {
    "readable": (
        "unreadable",
        "not_utf8",
        "half_letter",
        "truncated_gzip",
        "damaged_gzip",
        "decompression_bomb",
        "cut_short",
        "entry_too_large",
        "bad_row",
        "bad_field",
        "unknown_schema",
    ),
    "with a whole sequence": (
        "no_accession",
        "empty_sequence",
        "invalid_residue",
        "nucleotides",
        "length_mismatch",
        "checksum_mismatch",
    ),
    "within the length limit": ("too_long",),
}
"""The first stages of whatever is made of source files, and the reasons that cost an entry there."""
LENGTH_EDGES = (50, 100, 200, 400, 600, 800, 1022, 2048, 4096)
"""Upper bounds of the bins of lengths, in residues; 1022 is the length that ESM-2 was trained to."""
QUESTION_EDGES = (1, 2, 5, 10, 20, 50, 100, 200)
"""Upper bounds of the bins of questions per protein."""


def histogram(values: Iterable[int], edges: Sequence[int]) -> list[dict[str, int | None]]:
    """Proteins by a number of theirs: each bin is (above, up to], the last one open."""
    counts = Counter(bisect_left(edges, value) for value in values)
    bins = pairwise((0, *edges, None))
    return [{"above": low, "up_to": high, "proteins": counts[index]} for index, (low, high) in enumerate(bins)]


def funnel(top: str, total: int, stages: Mapping[str, Collection[str]], reasons: Counter[str]) -> list[dict[str, Any]]:
    """What is left after each stage, with the reasons of what was lost there.

    Args:
        top: what there was before the first stage,
        total: and how much of it.
        stages: stage to the codes of its reasons; a stage without any takes all that no stage names.
        reasons: how often each code was met.
    """
    named = {reason for codes in stages.values() for reason in codes}
    steps: list[dict[str, Any]] = [{"step": top, "left": total}]
    for stage, codes in stages.items():
        lost = {
            reason: count
            for reason, count in reasons.most_common()
            if reason in codes or (not codes and reason not in named)
        }
        steps.append({"step": stage, "left": steps[-1]["left"] - sum(lost.values()), "reasons": lost})
    return steps
