"""Rows of an evaluation's report for ``results/evaluation.csv``, which prose quotes: run it right after the evaluation.

    python benchmarks/evaluation.py runs/demo/evaluation/report.json

A row of the report is a row of the file; ``low`` and ``high`` bound the report's confidence interval.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import torch
from rows import append, origin

METRICS = ("facts", "yes_no", "rouge_l")


def rows_of(report: dict[str, Any]) -> list[dict[str, object]]:
    """One for the true protein, and one for each control and baseline, without their origin."""
    model, counts = report["model"], report["counts"]
    about = {
        "name": model["name"],
        "weights": model["manifest_sha256"][:12],
        "items": counts["num_items"],
        "proteins": counts["num_proteins"],
    }
    return [{**about, "row": row["name"], **_scores(row)} for row in report["rows"]]


def _scores(row: dict[str, Any]) -> dict[str, object]:
    named = {name: row["estimates"][name] for name in METRICS} | {"true_minus_row": row["difference"] or {}}
    scores: dict[str, object] = {}
    for name, estimate in named.items():
        for key, column in (("mean", name), ("low", f"{name}_low"), ("high", f"{name}_high")):
            value = estimate.get(key)
            scores[column] = "" if value is None else round(value, 3)
    return {**scores, "bleu": round(row["bleu"], 1)}


def main() -> None:
    """Append a report's rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="report.json of an evaluation")
    path = parser.parse_args().report
    made = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).isoformat(timespec="seconds")
    for row in rows_of(json.loads(path.read_text(encoding="utf-8"))):
        append("evaluation", {**row, **origin(torch.device("cpu")), "date": made})


if __name__ == "__main__":
    main()
