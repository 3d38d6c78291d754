"""Rows of results: where they lie, and what each says of its origin."""

import csv
import datetime
import platform
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results")
ORIGIN = ("device", "threads", "commit", "torch", "python", "date")
"""Columns that end every row."""


def origin(device: torch.device) -> dict[str, object]:
    """Where and when a row is made, with which versions and at which commit (marked when files differ from it)."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    values = (name, torch.get_num_threads(), commit, torch.__version__, platform.python_version(), now)
    return dict(zip(ORIGIN, values, strict=True))


def append(file: str, row: dict[str, object]) -> None:
    """Add a row to ``results/FILE.csv``, see `append_to`."""
    RESULTS.mkdir(exist_ok=True)
    append_to(RESULTS / f"{file}.csv", row)


def append_to(path: Path, row: dict[str, object]) -> None:
    """Add a row to a file; a new file begins with the row's columns.

    Raises:
        ValueError: the file has other columns.
    """
    new = not path.exists()
    if not new:
        header = path.read_text(encoding="utf-8").split("\n", 1)[0]
        if header != ",".join(row):
            raise ValueError(f"{path} has the columns {header}, the row {','.join(row)}; move the old file away")
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
