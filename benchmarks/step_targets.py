"""What a training step was to reach, met, missed or not measured, and kept apart from it what was published.

    python benchmarks/step_targets.py          reads results/train_step.csv

Rows count that `train_step.py` wrote of protein2text-8b at its true shapes, a whole batch, on one H200; of several for
one measurement the last. Hours are the median step's, times the steps of the published recipe.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rows import RESULTS

from protein2text.config import STAGES, load_run
from protein2text.train.stage_config import Stage

PRESET, CARD = "protein2text-8b", "H200"
STEPS: dict[Stage, int] = {"alignment": 1539, "instruction": 8203}
"""Of 394,000 and 210,000 records, once and five times."""
TARGET_H: dict[Stage, float] = {"alignment": 1.7, "instruction": 4.2}
"""Hours that a stage is to take on one H200, start-up, checkpoints and validation apart."""
PUBLISHED_H: dict[Stage, tuple[int, int]] = {"alignment": (8, 13), "instruction": (12, 20)}
PUBLISHED_ON, PUBLISHED_CARDS = "H100 PCIe 80 GB", 2
"""Jararweh et al., NAACL 2025."""
TIMES, MFU, HOURS = "times as fast as the plain step", "of the card's peak (MFU)", "hours"


class Target(NamedTuple):
    """At least ``bound``, of hours at most."""

    stage: Stage
    provider: str
    bound: float
    what: str

    @property
    def about(self) -> str:
        return f"{self.stage}, {self.provider}: at {'most' if self.what == HOURS else 'least'} {self.bound} {self.what}"


TARGETS = (
    Target("alignment", "product", 2.5, TIMES),
    Target("alignment", "product", 0.5, MFU),
    Target("alignment", "product", TARGET_H["alignment"], HOURS),
    Target("instruction", "product", TARGET_H["instruction"], HOURS),
    Target("instruction", "product, cached features", 2.5, TIMES),
)

Rows = Mapping[tuple[str, str], Mapping[str, str]]
"""By stage and provider."""


def read(path: Path) -> Rows:
    """The rows that count."""
    whole = {stage: f"{load_run(PRESET).stage(stage).global_batch} records," for stage in STAGES}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["stage"], row["provider"]): row
            for row in csv.DictReader(file)
            if (row["preset"], row["scale"]) == (PRESET, "1.0")
            and CARD in row["device"]
            and row["shape"].startswith(whole[row["stage"]])
        }


def judged(rows: Rows) -> list[str]:
    """Each target as met, missed or not measured, with its figure."""
    lines = []
    for target in TARGETS:
        found = _figure(rows, target)
        if found is None:
            lines.append(f"not measured: {target.about}")
            continue
        is_met = found <= target.bound if target.what == HOURS else found >= target.bound
        lines.append(f"{'met' if is_met else 'missed'}: {target.about}; {found:.2f}")
    return lines


def _figure(rows: Rows, target: Target) -> float | None:
    ours, plain = rows.get((target.stage, target.provider)), rows.get((target.stage, "plain LLaVA"))
    if ours is None:
        return None
    if target.what == MFU:
        return float(ours["mfu"])
    if target.what == HOURS:
        return float(ours["p50_s"]) * STEPS[target.stage] / 3600
    return float(plain["p50_s"]) / float(ours["p50_s"]) if plain else None


def published() -> list[str]:
    """What the method's authors report of other cards and other code; no figure of ours is set against it."""
    return [
        f"published: {stage}, {least}-{most} hours on {PUBLISHED_CARDS} x {PUBLISHED_ON}, "
        f"{PUBLISHED_CARDS * least}-{PUBLISHED_CARDS * most} GPU-hours"
        for stage, (least, most) in PUBLISHED_H.items()
    ]


def main() -> None:
    """Print both."""
    lines = [*judged(read(RESULTS / "train_step.csv")), "", *published()]
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
