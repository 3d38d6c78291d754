"""Answers from an index of neighbours: building it, asking it in batches, and one MMseqs2 process for every query.

    python benchmarks/neighbours.py                       5,000 and 20,000 entries, and as many queries
    python benchmarks/neighbours.py --sizes 1000

Entries and queries are members of the same families of mutated sequences, drawn apart; two families of three have one
member alone, for which nothing can be found. Each size is two processes, so that their peaks of memory are their own:
`index build` as a user runs it, and one that opens the index and answers all queries through the
interface that `predict` uses. Beside it, what one would script: MMseqs2's `easy-search` against the same database, at
the same sensitivity, a process for each query of a sample. Answers must name the query's family, or there is no row.
Memory "together" sums what every process of a size held, and so counts what they share, such as Ray's object store,
once for each. Prints what is done as it is done, appends one row a size to ``results/neighbours.csv``, and says at the
end by how much time and memory grew.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from families import families
from sampler import told_and_peak
from swissprot_like import write_flat_file

SIZES = (5_000, 20_000)
WITHIN_S = 600
"""No batch of queries is begun after so long; the row's ``queries`` are those that were answered by then."""
SAMPLE = 20
"""Queries that get a process each."""
MIN_RIGHT = 0.99
"""Share of the answered queries whose answer names their family."""
QUESTION = "Which family does this protein belong to?"


def write_sources(count: int, folder: Path) -> None:
    """``entries.dat`` with so many entries, and ``queries.json`` with as many queries and their families."""
    members = list(families(2 * count))
    random.Random(count).shuffle(members)
    write_flat_file(folder / "entries.dat", count, families=members[:count])
    (folder / "queries.json").write_text(json.dumps(members[count:]))


def build_index(source: str, output: str) -> dict[str, Any]:
    """In a process of its own: the index, and what it took."""
    from protein2text.neighbours.build import build

    began = time.perf_counter()

    def say(event: dict[str, Any]) -> None:
        if message := event.get("message"):
            tell(f"{time.perf_counter() - began:.0f} s: {message}")

    summary = build([source], output, release="made", progress=say)
    return {"seconds": summary.seconds, "peak": summary.peak_bytes, "entries": summary.entries}


def answer_all(index: str, queries: str) -> dict[str, Any]:
    """In a process of its own: all answers, and what they took.

    Raises:
        ValueError: too many name another family.
    """
    from protein2text.answerers import Query
    from protein2text.memory import peak_bytes
    from protein2text.neighbours.index_answerer import open_index
    from protein2text.proteins import Protein

    members = json.loads(Path(queries).read_text())
    began = time.perf_counter()
    answerer = open_index(Path(index))
    opened = time.perf_counter()
    asked = [
        Query(str(number), str(number), QUESTION, (Protein(f"Q{number}", sequence),))
        for number, (_, sequence) in enumerate(members)
    ]
    statuses, num_right = {"answered": 0, "no_homologue": 0, "no_such_fact": 0}, 0
    for replies in answerer.answer(asked):
        tell(f"{time.perf_counter() - opened:.0f} s: {sum(statuses.values()) + len(replies)} of {len(asked)} queries")
        for reply in replies:
            told = reply.details["neighbours"]
            statuses[told["status"]] += 1
            own = f"synthetic protein family {members[int(reply.id)][0]}"
            num_right += any(fact["value"] == own for fact in told["facts"])
        if time.perf_counter() - opened > WITHIN_S:
            break
    seconds = time.perf_counter() - opened
    if num_right < MIN_RIGHT * statuses["answered"] or not num_right:
        raise ValueError(f"{num_right} of {statuses['answered']} answers name the query's family")
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"open": opened - began, "seconds": seconds, "peak": peak_bytes(), "mmseqs": children, **statuses}


def tell(message: str) -> None:
    """Say how far the work is, to who waits for it."""
    sys.stderr.write(f"{message}\n")


def one_process_each(index: Path, queries: Path, folder: Path) -> float:
    """Seconds that a query takes on average when each has its own process."""
    from protein2text.data import mmseqs
    from protein2text.neighbours.index_folder import NeighbourIndex

    members = json.loads(queries.read_text())
    database = NeighbourIndex.open(index).database
    chosen = random.Random(0).sample(members, min(SAMPLE, len(members)))
    began = time.perf_counter()
    for number, (_, sequence) in enumerate(chosen):
        fasta = folder / f"{number}.fasta"
        fasta.write_text(f">query\n{sequence}\n")
        command = [mmseqs.find_binary(), "easy-search", fasta, database, folder / f"{number}.tsv", folder / "scratch"]
        how = ["-s", str(mmseqs.SENSITIVITY), "-e", str(mmseqs.MAX_EVALUE), "--alignment-mode", "3"]
        subprocess.run([*map(str, command), *how, "-v", "1"], check=True, capture_output=True)
    return (time.perf_counter() - began) / len(chosen)


def in_process(name: str, *paths: Path) -> tuple[dict[str, Any], int]:
    """What a function of this file told in a process of its own, and the most memory that it and its children held."""
    command = [sys.executable, __file__, "--run", name, *map(str, paths)]
    return told_and_peak(command)


def measure(count: int, folder: Path) -> dict[str, Any]:
    """One size; the row without its origin."""
    write_sources(count, folder)
    built, built_together = in_process("build_index", folder / "entries.dat", folder / "index")
    told, told_together = in_process("answer_all", folder / "index", folder / "queries.json")
    num_asked = told["answered"] + told["no_homologue"] + told["no_such_fact"]
    tell(f"index of {built['entries']} entries: {built['seconds']:.1f} s; {num_asked} queries: {told['seconds']:.1f} s")
    each = one_process_each(folder / "index", folder / "queries.json", folder)
    return {
        "op": "neighbours",
        "entries": built["entries"],
        "queries": num_asked,
        "build_s": round(built["seconds"], 1),
        "build_peak_bytes": built["peak"],
        "build_together_bytes": built_together,
        "open_s": round(told["open"], 2),
        "answer_s": round(told["seconds"], 1),
        "queries_per_s": round(num_asked / told["seconds"], 1),
        "answer_peak_bytes": told["peak"],
        "mmseqs_peak_bytes": told["mmseqs"],
        "answer_together_bytes": told_together,
        "answered": told["answered"],
        "no_homologue": told["no_homologue"],
        "process_each_s": round(each, 3),
        "times_faster": round(each * num_asked / told["seconds"], 1),
    }


def main() -> int:
    """Measure each size; 1 when the tests of the answers are red."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="entries and queries, ascending")
    parser.add_argument("--run", nargs=3, metavar=("FUNCTION", "FROM", "TO"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        name, *paths = arguments.run
        told = {"build_index": build_index, "answer_all": answer_all}[name](*paths)
        sys.stdout.write(json.dumps(told) + "\n")
        return 0
    import torch  # here: the measured processes must not hold it
    from rows import ROOT, append, origin
    from run import passes

    tests = ROOT / "tests" / "neighbours" / "test_agreement.py"
    if not passes(tests):
        sys.stderr.write(f"the tests fail, so nothing is timed: {tests}\n")
        return 1
    rows = []
    for count in sorted(arguments.sizes):
        with tempfile.TemporaryDirectory(prefix="neighbours-") as folder:
            rows.append(measure(count, Path(folder)))
        sys.stdout.write(", ".join(f"{key} {value}" for key, value in rows[-1].items()) + "\n")
        append("neighbours", {**rows[-1], **origin(torch.device("cpu"))})
    for name in ("entries", "build_s", "build_peak_bytes", "answer_s", "answer_peak_bytes", "answer_together_bytes"):
        sys.stdout.write(f"{name}: x {rows[-1][name] / rows[0][name]:.2f}\n" if len(rows) > 1 else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
