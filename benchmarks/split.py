"""Splitting by cluster: seconds of each stage and peak memory, by the number of sequences.

    python benchmarks/split.py                        5,000, 10,000 and 20,000 sequences
    python benchmarks/split.py --sequences 1000

Families of mutated sequences: log-normal lengths (median 294 residues, sigma 0.63), heavy-tailed family sizes, members
at 35 to 95 % identity with insertions, deletions and fragments. Prints, and appends to ``results/split.csv``, one row a
size: seconds of reading, clustering, searching and measuring; the peak resident memory of this program's process, of
the largest MMseqs2 process, and of all together; and how many test proteins were drawn, were related, and moved. At the
end: by how much time and memory grew from the smallest size to the largest.
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import torch
from families import LIMITS, families
from rows import ROOT, append, origin
from run import passes
from sampler import told_and_peak

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.parsing import OUTCOME_SCHEMA
from protein2text.data.records import load_card, make_record
from protein2text.data.split import split
from protein2text.memory import peak_bytes
from protein2text.proteins import Protein

SIZES = (5_000, 10_000, 20_000)
TESTS = ROOT / "tests" / "data" / "test_split.py"


def write_corpus(folder: Path, count: int) -> None:
    """A finished corpus of such sequences, each with a text of its own."""
    writer, rows = CorpusWriter(folder), []
    for number, (_, sequence) in enumerate(families(count)):
        accession = f"F{number:06}"
        record = make_record(accession, [Protein(accession, sequence)], source="made", text=f"Protein {number}.")
        rows.append({**record, "place": f"line {number}"})
        if len(rows) == 1000 or number == count - 1:
            writer.add(pa.Table.from_pylist(rows, schema=OUTCOME_SCHEMA))
            rows = []
    writer.finish([{"name": "made", "sha256": "0" * 64}], max_residues=LIMITS[1])


def split_one(corpus: str, output: str) -> None:
    """In a process of its own: split, and print what it took as JSON."""
    summary = split([corpus], output, kind="by_cluster", progress=_told)
    card = json.loads((Path(output) / "split.json").read_text())
    memory = [peak_bytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]
    told = {"seconds": summary.seconds, "stage_seconds": summary.stage_seconds, "memory": memory, "card": card}
    sys.stdout.write(json.dumps(told) + "\n")


def _told(event: dict[str, object]) -> None:
    sys.stderr.write(f"  {event['message']}\n")


def measure(count: int, folder: Path) -> dict[str, object]:
    """A row for one size."""
    corpus = folder / f"corpus-{count}"
    write_corpus(corpus, count)
    proteins = load_card(corpus)["counts"]["proteins"]
    sys.stderr.write(f"{count} sequences, {proteins} distinct\n")
    command = [sys.executable, __file__, "--one", str(corpus), str(folder / f"split-{count}")]
    told, peak = told_and_peak(command)
    card = told["card"]
    return {
        "op": "split by_cluster", "sequences": count, "residues": card["num_residues"],
        **{f"{stage}_s": round(seconds, 2) for stage, seconds in told["stage_seconds"].items()},
        "total_s": round(told["seconds"], 2), "peak_python_bytes": told["memory"][0],
        "peak_mmseqs_bytes": told["memory"][1], "peak_together_bytes": peak, "search": card["search"],
        "clusters": card["num_mmseqs_clusters"], "drawn": card["num_drawn"], "related": card["num_related"],
        "moved": card["num_moved"], "max_identity": card["max_identity"], **origin(torch.device("cpu")),
    }  # fmt: skip


def main() -> int:
    """Measure each size; 1 when the tests of the split are red."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, nargs="+", default=list(SIZES), help="sizes, ascending")
    parser.add_argument("--one", nargs=2, metavar=("CORPUS", "SPLIT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        split_one(*arguments.one)
        return 0
    if not passes(TESTS):
        sys.stderr.write(f"the tests fail, so nothing is timed: {TESTS}\n")
        return 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="split-") as folder:
        for count in sorted(arguments.sequences):
            row = measure(count, Path(folder))
            append("split", row)
            rows.append(row)
            times = ", ".join(f"{name[:-2]} {value} s" for name, value in row.items() if name.endswith("_s"))
            gib = float(str(row["peak_together_bytes"])) / 2**30
            sys.stdout.write(f"{count} sequences: {times}; {gib:.2f} GiB at most\n")
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        for name in ("sequences", "total_s", "peak_python_bytes", "peak_mmseqs_bytes", "peak_together_bytes"):
            sys.stdout.write(f"{name}: x {float(str(last[name])) / float(str(first[name])):.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
