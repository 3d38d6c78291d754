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
import math
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import torch
from rows import ROOT, append, origin
from run import passes

from protein2text.data.corpus_writer import CorpusWriter
from protein2text.data.parsing import OUTCOME_SCHEMA
from protein2text.data.records import load_card, make_record
from protein2text.data.split import split
from protein2text.memory import peak_bytes
from protein2text.proteins import Protein

SIZES = (5_000, 10_000, 20_000)
MEDIAN_RESIDUES, SIGMA, LIMITS = 294, 0.63, (30, 4000)
LARGEST_FAMILY, FAMILY_TAIL = 60, 1.6
LETTERS = "ARNDCQEGHILKMFPSTWYV"
PERCENT = (
    8.25,
    5.53,
    4.06,
    5.46,
    1.38,
    3.93,
    6.72,
    7.07,
    2.27,
    5.91,
    9.65,
    5.8,
    2.41,
    3.86,
    4.74,
    6.65,
    5.36,
    1.1,
    2.92,
    6.86,
)
"""Of residues in Swiss-Prot, letter by letter."""
TESTS = ROOT / "tests" / "data" / "test_split.py"
SAMPLED_EVERY_S = 0.1


def residues(rng: random.Random, length: int) -> str:
    """A random sequence of natural composition."""
    return "".join(rng.choices(LETTERS, PERCENT, k=length))


def member(rng: random.Random, ancestor: str) -> str:
    """A relative: substitutions at 5 to 65 % of the places, a few insertions and deletions; one in ten a fragment."""
    rate = rng.uniform(0.05, 0.65)
    foreign = iter(residues(rng, len(ancestor)))
    parts = [next(foreign) if rng.random() < rate else letter for letter in ancestor]
    for _ in range(rng.randrange(4)):
        place, length = rng.randrange(len(parts)), rng.randint(1, 8)
        parts[place : place + rng.choice((0, length))] = list(residues(rng, rng.choice((0, length))))
    start = rng.randrange(len(parts) // 2) if len(parts) > 80 and rng.random() < 0.1 else 0
    return "".join(parts[start : start + len(parts) // 2 if start else None]) or ancestor


def sequences(count: int, seed: int = 0) -> Iterator[str]:
    """So many sequences in families, whose sizes follow a power law."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        length = round(rng.lognormvariate(math.log(MEDIAN_RESIDUES), SIGMA))
        ancestor = residues(rng, min(max(length, LIMITS[0]), LIMITS[1]))
        family = min(int(rng.paretovariate(FAMILY_TAIL)), LARGEST_FAMILY, count - made)
        made += family
        yield ancestor
        yield from (member(rng, ancestor) for _ in range(family - 1))


def write_corpus(folder: Path, count: int) -> None:
    """A finished corpus of such sequences, each with a text of its own."""
    writer, rows = CorpusWriter(folder), []
    for number, sequence in enumerate(sequences(count)):
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


class Sampler(threading.Thread):
    """Watches a process and all that it starts; ``peak`` is the most resident memory they held together, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self) -> None:
        """Sample until the process is gone."""
        try:
            while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
                total = 0
                for each in (self.process, *self.process.children(recursive=True)):
                    try:
                        total += each.memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                self.peak = max(self.peak, total)
                time.sleep(SAMPLED_EVERY_S)
        except psutil.NoSuchProcess:
            return


def measure(count: int, folder: Path) -> dict[str, object]:
    """A row for one size."""
    corpus = folder / f"corpus-{count}"
    write_corpus(corpus, count)
    proteins = load_card(corpus)["counts"]["proteins"]
    sys.stderr.write(f"{count} sequences, {proteins} distinct\n")
    command = [sys.executable, __file__, "--one", str(corpus), str(folder / f"split-{count}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sampler = Sampler(process.pid)
        sampler.start()
        output, _ = process.communicate()
        sampler.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    told = json.loads(output.splitlines()[-1])
    card = told["card"]
    return {
        "op": "split by_cluster", "sequences": count, "residues": card["num_residues"],
        **{f"{stage}_s": round(seconds, 2) for stage, seconds in told["stage_seconds"].items()},
        "total_s": round(told["seconds"], 2), "peak_python_bytes": told["memory"][0],
        "peak_mmseqs_bytes": told["memory"][1], "peak_together_bytes": sampler.peak, "search": card["search"],
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
