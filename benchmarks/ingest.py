"""From a Swiss-Prot-like flat file to Parquet, beside Biopython's parser on the same file in the same run.

    python benchmarks/ingest.py                           10,000 and 40,000 entries: some minutes
    python benchmarks/ingest.py 40000 400000 --folder /tmp/ingest

Each size is one process, so that its peak of memory is its own: `data ingest` as a user runs it, Ray's start included,
between two passes of Biopython over the same file without the malformed entries, at which it would stop; the faster
counts. Every entry must be told as the writer of the file foretold it, or there is no row. Prints one line per size
and, at the end, what grew how much between the smallest and the largest; rows go to ``results/ingest.csv``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from Bio import SwissProt
from swissprot_like import write_flat_file

SIZES = (10_000, 40_000)
MALFORMED = 0.001


def biopython_per_s(source: Path, num_entries: int) -> float:
    """Entries that Biopython parses in a second of one core, of a whole file that it can read."""
    started = time.perf_counter()
    with source.open(encoding="latin-1") as file:
        count = sum(1 for _ in SwissProt.parse(file))
    if count != num_entries:
        raise ValueError(f"Biopython found {count} entries of {num_entries}")
    return count / (time.perf_counter() - started)


class PrivateMemory(threading.Thread):
    """Watches the memory of this process that it shares with nobody: blocks that Ray lends it are not its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0

    def run(self) -> None:
        """Look five times a second."""
        while True:
            fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.peak_bytes = max(self.peak_bytes, int(fields["RssAnon"].split()[0]) * 1024)
            time.sleep(0.2)


def measure(source: Path, output: Path, told: dict[str, int]) -> dict[str, Any]:
    """Ingest one file in this process, and say what it took; memory in MiB.

    Raises:
        ValueError: the corpus is not what the file's writer foretold.
    """
    from protein2text.data.ingest import ingest
    from protein2text.memory import peak_bytes

    watch = PrivateMemory()
    watch.start()
    started = time.perf_counter()
    summary = ingest([str(source)], str(output), max_residues=4096)
    seconds = time.perf_counter() - started
    if {"records": summary.records, **summary.reasons} != told:
        raise ValueError(f"the file was written with {told}, read as {summary.records} records, {summary.reasons}")
    shards = [pq.read_metadata(path) for path in sorted((output / "records").iterdir())]
    sizes = [sum(shard.row_group(n).total_byte_size for n in range(shard.num_row_groups)) for shard in shards]
    return {
        "entries": summary.rows,
        "source_mib": round(source.stat().st_size / 2**20),
        "seconds": round(seconds, 1),
        "us_per_entry": round(seconds / summary.rows * 1e6),
        "entries_per_s": round(summary.rows / seconds),
        "driver_private_mib": round(watch.peak_bytes / 2**20),
        "driver_peak_mib": round(peak_bytes() / 2**20),
        "shards": len(shards),
        "largest_over_smallest": round(max(sizes) / min(sizes), 3),
        "cores": len(os.sched_getaffinity(0)),
    }


def run(num_entries: int, folder: Path) -> dict[str, Any]:
    """One size in a process of its own; its files are removed."""
    source, output = folder / f"{num_entries}.dat", folder / f"{num_entries}"
    told = write_flat_file(source, num_entries, malformed=MALFORMED)
    sound = folder / f"{num_entries}-sound.dat"
    write_flat_file(sound, num_entries)
    command = [sys.executable, __file__, "--measure", str(source), str(output), json.dumps(told)]
    try:
        before = biopython_per_s(sound, num_entries)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{num_entries} entries: {done.stderr[-2000:]}")
        row = json.loads(done.stdout.splitlines()[-1])
        biopython = max(before, biopython_per_s(sound, num_entries))
        return {**row, "biopython_per_s": round(biopython), "ratio": round(row["entries_per_s"] / biopython, 2)}
    finally:
        source.unlink()
        sound.unlink()
        subprocess.run(["rm", "-r", str(output)], check=False)


def main() -> None:
    """Measure every size, smallest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="*", type=int, default=list(SIZES), help="sizes, in entries")
    parser.add_argument("--folder", type=Path, help="where files of 3.3 kB an entry may lie for a while")
    parser.add_argument("--measure", nargs=3, metavar=("SOURCE", "OUTPUT", "TOLD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        source, output, told = arguments.measure
        sys.stdout.write(json.dumps(measure(Path(source), Path(output), json.loads(told))) + "\n")
        return
    import torch  # here: the measured process must not hold it
    from rows import append, origin

    if arguments.folder:
        Path(arguments.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = []
        for num_entries in sorted(arguments.entries):
            rows.append(run(num_entries, Path(folder)))
            sys.stdout.write(", ".join(f"{key} {value}" for key, value in rows[-1].items()) + "\n")
            append("ingest", {**rows[-1], **origin(torch.device("cpu"))})
    small, large = rows[0], rows[-1]
    grown = {key: large[key] - small[key] for key in ("driver_private_mib", "driver_peak_mib")}
    sys.stdout.write(
        f"from {small['entries']} to {large['entries']} entries: driver +{grown['driver_private_mib']} MiB private, "
        f"+{grown['driver_peak_mib']} MiB with what it shares; "
        f"{small['us_per_entry']} and {large['us_per_entry']} us per entry\n"
    )


if __name__ == "__main__":
    main()
