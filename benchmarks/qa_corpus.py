"""The second step of `protein2text data qa` and the split behind it, at any size: texts to a corpus, corpus to a split.

    python benchmarks/qa_corpus.py FOLDER                                  210,000 pairs over 5,000 proteins
    python benchmarks/qa_corpus.py FOLDER --pairs 21000 --proteins 500     a tenth of it
    python benchmarks/qa_corpus.py FOLDER --kill                           also killed once half-way, and run again

Writes FOLDER/literature and FOLDER/qa as a run whose generator has just finished, then checks, removes duplicates,
writes shards and splits by cluster. Prints seconds of each stage, growth of the driver's memory and rows per shard;
with ``--kill`` a corpus that differs from the undisturbed one is an error. Rows are appended to
``results/qa_corpus.csv``.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import time
from multiprocessing.queues import Queue
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from qa_world import Work, world
from rows import append, origin

from protein2text.data.passages import PASSAGE_SCHEMA
from protein2text.data.qa.generate import literature_mark
from protein2text.data.qa.generated_folder import GeneratedFolder, GeneratedRow
from protein2text.data.qa.passage_folder import PassageFolder
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.run import make_qa
from protein2text.data.records import load_card, write_json, write_shard
from protein2text.data.split import split

PASSAGES_PER_SHARD = 4096
GENERATOR = {"engine": "world", "model": "benchmarks/qa_world.py"}


def write_folders(folder: Path, works: list[Work]) -> None:
    """Write passages and their generated texts as `data literature` and the generator leave them."""
    starts = range(0, len(works), PASSAGES_PER_SHARD)
    for number, start in enumerate(starts):
        passages = [work.passage for work in works[start : start + PASSAGES_PER_SHARD]]
        table = pa.Table.from_pylist(passages, schema=PASSAGE_SCHEMA)
        write_shard(table, folder / "literature" / "passages" / f"part-{number:05d}.parquet")
    write_json({"counts": {"passages": len(works)}}, folder / "literature" / "card.json")
    with GeneratedFolder(folder / "qa") as texts:
        literature = literature_mark(PassageFolder(folder / "literature"))
        texts.begin({"literature": literature, "licences": list(QaRules().licences), "generator": GENERATOR})
        for start in starts:
            texts.add([_row(work) for work in works[start : start + PASSAGES_PER_SHARD]])


def _row(work: Work) -> GeneratedRow:
    return {
        "passage_id": work.passage["passage_id"],
        "text": work.text,
        "finish": "stop",
        "reason": None,
        "message": None,
        "generator": json.dumps(GENERATOR),
        "prompt_version": 1,
        "decoding": "{}",
        "seed": 0,
    }


def _check(folder: Path, answer: "Queue[dict[str, float]]") -> None:
    """Run step 2 in this process, the driver, and tell its seconds and the growth of its memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    make_qa(folder / "literature", folder / "qa", None)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    answer.put({"seconds": time.monotonic() - started, "growth_bytes": growth})


def check(folder: Path, *, kill_after_s: float | None = None) -> dict[str, float] | None:
    """Step 2 in a fresh process; killed after so many seconds, it gives None."""
    context = multiprocessing.get_context("spawn")
    answer: Queue[dict[str, float]] = context.Queue()
    process = context.Process(target=_check, args=(folder, answer))
    process.start()
    if kill_after_s is not None:
        process.join(kill_after_s)
        process.kill()
        process.join()
        return None
    found = answer.get()
    process.join()
    return found


def measure(folder: Path, num_pairs: int, num_proteins: int, *, kill: bool) -> dict[str, object]:
    """A row of results.

    Raises:
        RuntimeError: a killed and repeated run gave another corpus.
    """
    shutil.rmtree(folder, ignore_errors=True)
    works = list(world(num_pairs, num_proteins, 0))
    write_folders(folder, works)
    found = check(folder)
    assert found is not None, "only a killed run tells nothing"
    card = load_card(folder / "qa")
    if kill:
        (folder / "qa" / "card.json").unlink()
        check(folder, kill_after_s=found["seconds"] / 2)
        check(folder)
        again = load_card(folder / "qa")["checksum"]
        if again != card["checksum"]:
            raise RuntimeError(f"{folder}: a killed run gave {again}, an undisturbed one {card['checksum']}")
    shards = [pq.read_metadata(path).num_rows for path in sorted((folder / "qa" / "records").glob("*.parquet"))]
    started = time.monotonic()
    divided = split([str(folder / "qa")], str(folder / "split"), kind="by_cluster")
    return {
        "pairs": num_pairs,
        "proteins": num_proteins,
        "passages": len(works),
        "accepted": card["counts"]["records"],
        "check_s": round(found["seconds"], 1),
        "split_s": round(time.monotonic() - started, 1),
        "driver_growth_bytes": int(found["growth_bytes"]),
        "shards": len(shards),
        "rows_per_shard": f"{min(shards)}-{max(shards)}",
        "test_proteins": divided.proteins["test"],
        "killed": kill,
        **origin(torch.device("cpu")),
    }


def main() -> int:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="scratch folder; what it holds is removed")
    parser.add_argument("--pairs", type=int, default=210_000, help="generated pairs")
    parser.add_argument("--proteins", type=int, default=5_000, help="proteins they are about")
    parser.add_argument("--kill", action="store_true", help="kill a second run half-way and compare what a third makes")
    arguments = parser.parse_args()
    row = measure(arguments.folder, arguments.pairs, arguments.proteins, kill=arguments.kill)
    append("qa_corpus", row)
    sys.stdout.write("".join(f"{name:>20}  {value}\n" for name, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
