"""Charts of a kernel suite's rows: how near each operation comes to the device's roof, and how it compares.

    python benchmarks/plot.py results.csv --folder docs

Writes ``kernels_roofline.png`` and ``kernels_ratio.png``, and prints what was aimed at, met or missed, with the figure.
Of several rows for one measurement the last counts. Reads what `kernel_suite.py` wrote and nothing else.
"""

import argparse
import csv
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

OURS, ROWS_PER_S = "ours", "rows a second"


class Key(NamedTuple):
    """What was measured."""

    op: str
    passes: str
    shape: str
    dtype: str


class Measured(NamedTuple):
    """Of one provider."""

    p50_ms: float
    num_bytes: float
    flops: float
    floor_ms: float


class Rows:
    """The timed rows of a file."""

    def __init__(self, path: Path) -> None:
        self.by_key: dict[Key, dict[str, Measured]] = {}
        self.about = ""
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not row["p50_ms"]:
                    continue
                values = (float(row[name] or 0) for name in ("p50_ms", "bytes", "flops", "floor_ms"))
                key = Key(row["op"], row["passes"], row["shape"], row["dtype"])
                self.by_key.setdefault(key, {})[row["provider"]] = Measured(*values)
                self.about = f"{row['device']}, {row['date'][:10]}, {row['commit']}"

    @property
    def bytes_per_s(self) -> float:
        """What the device copied."""
        return self._rate("copy", "num_bytes")

    @property
    def flops_per_s(self) -> float:
        """What it multiplied."""
        return self._rate("product", "flops")

    def _rate(self, op: str, what: str) -> float:
        (found,) = [ways["torch"] for key, ways in self.by_key.items() if key.op == op]
        return float(getattr(found, what)) / found.p50_ms * 1e3

    def ours(self) -> dict[Key, Measured]:
        return {key: ways[OURS] for key, ways in self.by_key.items() if OURS in ways}

    def ratios(self) -> dict[Key, dict[str, float]]:
        """How many times as long each peer takes as ours does."""
        return {
            key: {name: way.p50_ms / ways[OURS].p50_ms for name, way in ways.items() if name != OURS}
            for key, ways in self.by_key.items()
            if OURS in ways
        }


class Target(NamedTuple):
    """What ours is to reach at every shape whose name begins so."""

    op: str
    passes: str
    peer: str
    """Empty: the share of the floor's rate; ``ROWS_PER_S``: a rate in itself."""
    least: float
    batch: str = "B=64 "


TARGETS = (
    Target("bias_gelu", "forward", "", 0.85), Target("bias_gelu", "forward", "torch.compile", 1.0),
    Target("qkv_rope", "forward", "", 0.80), Target("residual_layer_norm", "forward", "", 0.85),
    Target("encoder", "forward", ROWS_PER_S, 350_000), Target("encoder", "forward", "packed, eager", 1.6),
    Target("encoder", "forward", "packed, torch.compile", 1.1),
    Target("ragged_cross_attention", "forward", "varlen_attn with its concat", 2.0),
    Target("ragged_cross_attention", "forward", "varlen_attn, joined before", 1.0),
    Target("ragged_cross_attention", "forward", "ours, unsplit", 5.0, "titin"),
    Target("ragged_cross_attention", "backward", "varlen_attn with its concat", 1.5),
    Target("resampler", "forward + backward", "published loop", 30.0),
    Target("resampler", "forward + backward", "padded, SDPA", 2.5),
    Target("resampler", "forward + backward", "packed, varlen_attn, torch.compile", 1.25),
    Target("resampler", "forward + backward", "", 0.70), Target("splice", "forward", "", 0.80),
    Target("splice", "backward", "", 0.80),
)  # fmt: skip
"""Of bfloat16 at the size of a training batch, where nothing else is said."""


def judged(rows: Rows) -> list[str]:
    """Each target as met, missed or not measured, with its figure, for every shape that it holds for."""
    lines = []
    for target in TARGETS:
        aim = f"{target.least:g} {'' if target.peer == ROWS_PER_S else 'times '}{target.peer}"
        aim = aim if target.peer else f"{target.least:.0%} of the floor's rate"
        about = f"{target.op}, {target.passes}, {target.batch.strip()}: at least {aim}"
        found = [
            (key.shape, figure)
            for key in rows.ours()
            if (key.op, key.passes, key.dtype) == (target.op, target.passes, "bfloat16")
            and key.shape.startswith(target.batch)
            and (figure := _figure(rows, key, target.peer)) is not None
        ]
        for shape, figure in found:
            lines.append(f"{'met' if figure >= target.least else 'missed'}: {about}; {figure:.2f} at {shape}")
        if not found:
            lines.append(f"not measured: {about}")
    return lines


def _figure(rows: Rows, key: Key, peer: str) -> float | None:
    ours = rows.by_key[key][OURS]
    if peer == ROWS_PER_S:
        return int(re.findall(r"S=(\d+)", key.shape)[0]) / ours.p50_ms * 1e3
    return rows.ratios()[key].get(peer) if peer else ours.floor_ms / ours.p50_ms


def roofline(rows: Rows, path: Path) -> None:
    """Operations that multiply under the roof of their intensity; the others by the rate at which they move bytes."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
    ours = rows.ours()
    multiply = {key: way for key, way in ours.items() if way.flops}
    intensities = [way.flops / way.num_bytes for way in multiply.values()] or [1.0]
    ridge = rows.flops_per_s / rows.bytes_per_s
    reach = sorted([min(intensities) / 2, ridge, max([*intensities, ridge]) * 2])
    left.plot(reach, [min(each * rows.bytes_per_s, rows.flops_per_s) / 1e12 for each in reach], color="black")
    for op in sorted({key.op for key in multiply}):
        points = [
            (way.flops / way.num_bytes, way.flops / way.p50_ms / 1e9) for key, way in multiply.items() if key.op == op
        ]
        left.plot(*zip(*points, strict=True), "o", label=op)
    left.set(xscale="log", yscale="log", xlabel="useful operations a byte", ylabel="TFLOP/s", title="Products")
    if multiply:
        left.legend()
    move = {key: way for key, way in ours.items() if not way.flops}
    names = [f"{key.op} {key.passes}\n{key.shape} {key.dtype}" for key in move]
    right.barh(names, [way.num_bytes / way.p50_ms / 1e6 for way in move.values()])
    right.axvline(rows.bytes_per_s / 1e9, color="black", label="copy")
    right.set(xlabel="GB/s of least bytes", title="Reads and writes")
    right.tick_params(axis="y", labelsize=5)
    right.legend()
    _save(figure, rows, path)


def ratio(rows: Rows, path: Path) -> None:
    """How many times as long the peers take, a panel for each operation."""
    import matplotlib.pyplot as plt

    ratios = {key: peers for key, peers in rows.ratios().items() if peers}
    panels = sorted({(key.op, key.passes) for key in ratios})
    figure, axes = plt.subplots(
        max(1, len(panels)), 1, figsize=(11, 2.8 * max(1, len(panels))), layout="constrained", squeeze=False
    )
    for axis, panel in zip(axes[:, 0], panels, strict=False):
        mine = {key: peers for key, peers in ratios.items() if key[:2] == panel}
        names = sorted({name for peers in mine.values() for name in peers})
        for place, name in enumerate(names):
            heights = [peers.get(name, 0.0) for peers in mine.values()]
            axis.bar(
                [at + place / (len(names) + 1) for at in range(len(mine))], heights, 1 / (len(names) + 1), label=name
            )
        axis.set_xticks(range(len(mine)), [f"{key.shape}\n{key.dtype}" for key in mine], fontsize=5)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(title=" ".join(panel), ylabel="times ours", yscale="log")
        axis.legend(fontsize=6)
    _save(figure, rows, path)


def _save(figure: Any, rows: Rows, path: Path) -> None:
    figure.suptitle(rows.about, fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> int:
    """Draw both charts and judge the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="rows of kernel_suite.py")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where the charts go")
    arguments = parser.parse_args()
    import matplotlib as mpl

    mpl.use("agg")
    rows = Rows(arguments.results)
    roofline(rows, arguments.folder / "kernels_roofline.png")
    ratio(rows, arguments.folder / "kernels_ratio.png")
    sys.stdout.writelines(f"{line}\n" for line in judged(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
