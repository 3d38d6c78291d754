"""From generated texts to a split corpus: checks, duplicates and shards at any size, and the driver's memory.

    python benchmarks/qa_corpus.py --pairs 210000 --proteins 5000                  one size
    python benchmarks/qa_corpus.py --pairs 21000 --proteins 500 --shard-mib 4      another, in several shards too
    python benchmarks/qa_corpus.py --pairs 210000 --proteins 5000 --kills 5        killed so often, then compared

Writes a literature folder and the texts that a generator would have left, those of ``qa_world``, then runs step 2 of
`protein2text data qa` in a process of its own, and `data split` of the corpus that it makes in another. A row of
``results/qa_corpus.csv`` holds the seconds of both, the pairs per second of the first, the peak of its driver's private
memory, the number of shards, and by how much the largest exceeds the smallest. The peaks at two sizes tell how the
driver's memory grows.

With ``--kills``, step 2 begins anew, is killed so often while it works, and then runs to its end. The row says whether
its record ids are unique, and whether its records and those of the run before it are the same as a set.
"""

import argparse
import hashlib
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from ingest import PrivateMemory
from qa_world import Work, world
from rows import append, origin

from protein2text.data.passages import PASSAGE_SCHEMA
from protein2text.data.qa.generated_folder import GENERATED_SCHEMA, GENERATED_VERSION, HEADER
from protein2text.data.qa.passage_folder import PassageFolder
from protein2text.data.qa.rules import QaRules
from protein2text.data.records import ROWS_PER_BLOCK, load_card, row_bytes, write_json, write_shard

ROWS_PER_SHARD = 32 * ROWS_PER_BLOCK
REORDERED = 64
"""Texts among which the order is not the literature's: a pool of generators leaves them as they are done."""
MARK = {"engine": "benchmark", "model": "made", "revision": "0"}


def text_row(number: int, work: Work) -> dict[str, Any]:
    """What a generator would have left about a passage."""
    return {
        "passage_id": work.passage["passage_id"], "text": work.text, "finish": "stop", "reason": None, "message": None,
        "generator": json.dumps(MARK), "prompt_version": 1, "decoding": "{}", "seed": number,
    }  # fmt: skip


def make_folders(folder: Path, num_pairs: int, num_proteins: int) -> None:
    """Literature, and texts in another order than its own, as a pool of generators leaves them."""
    rng, works = random.Random(0), world(num_pairs, num_proteins, seed=0)
    num_passages = 0
    for shard in itertools.count():
        part = list(itertools.islice(works, ROWS_PER_SHARD))
        if not part:
            break
        texts = [text_row(num_passages + place, work) for place, work in enumerate(part)]
        num_passages += len(part)
        for first in range(0, len(texts), REORDERED):
            some = texts[first : first + REORDERED]
            rng.shuffle(some)
            texts[first : first + REORDERED] = some
        name = f"part-{shard:05d}.parquet"
        passages = pa.Table.from_pylist([work.passage for work in part], schema=PASSAGE_SCHEMA)
        write_shard(passages, folder / "literature" / "passages" / name)
        write_shard(pa.Table.from_pylist(texts, schema=GENERATED_SCHEMA), folder / "qa" / "generated" / name)
    write_json({"counts": {"passages": num_passages}}, folder / "literature" / "card.json")
    literature = PassageFolder(folder / "literature")
    mark = {"passages": len(literature.place), "sha256": literature.checksum()}
    header = {"version": GENERATED_VERSION, "literature": mark, "licences": list(QaRules().licences), "generator": MARK}
    write_json(header, folder / "qa" / HEADER)


def check(folder: Path, shard_bytes: int) -> None:
    """Step 2 in this process; prints seconds, peak memory and the numbers of the summary."""
    import ray

    from protein2text.data.qa.run import make_qa

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    memory = PrivateMemory()
    memory.start()
    started = time.perf_counter()
    summary = make_qa(folder / "literature", folder / "qa", None, shard_bytes=shard_bytes)
    seconds = time.perf_counter() - started
    ray.shutdown()
    told = {"seconds": seconds, "driver_private_peak_mib": memory.peak_bytes // 2**20, "rows": summary.rows}
    print(json.dumps({**told, "records": summary.records}))  # noqa: T201  read by the parent


def split_corpus(folder: Path) -> None:
    """The next stage, in this process; prints the seconds of its stages and what it made."""
    from protein2text.data.split import split

    summary = split([str(folder / "qa")], str(folder / "split"), kind="by_cluster")
    told = {"seconds": summary.seconds, "test_proteins": summary.proteins["test"], "records": summary.records}
    print(json.dumps(told))  # noqa: T201  read by the parent


def in_its_own_process(folder: Path, stage: str, *, shard_mib: int) -> "subprocess.Popen[str]":
    """A stage as a child, to be measured or killed."""
    command = [sys.executable, __file__, "--stage", stage, str(folder), "--shard-mib", str(shard_mib)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measured(folder: Path, stage: str, *, shard_mib: int) -> dict[str, Any]:
    """What a stage tells at its end.

    Raises:
        RuntimeError: it failed.
    """
    process = in_its_own_process(folder, stage, shard_mib=shard_mib)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{stage} ended with {process.returncode}")
    return dict(json.loads(output.splitlines()[-1]))


def shard_rows(folder: Path) -> list[int]:
    """Rows of each shard of records."""
    return [pq.read_metadata(folder / "records" / name).num_rows for name in load_card(folder)["shards"]["records"]]


def rows_by_id(folder: Path) -> tuple[dict[str, str], int]:
    """A digest of each record by its id, and how many records there are."""
    digests: dict[str, str] = {}
    num_rows = 0
    for name in load_card(folder)["shards"]["records"]:
        with pq.ParquetFile(folder / "records" / name) as file:
            for batch in file.iter_batches():
                num_rows += batch.num_rows
                for row in batch.to_pylist():
                    digests[row["record_id"]] = hashlib.sha256(row_bytes(row)).hexdigest()
    return digests, num_rows


def killed_and_compared(folder: Path, kills: int, within_s: float, shard_mib: int) -> dict[str, object]:
    """Step 2 anew, killed so often while it works, and then to its end: columns that say what came of it."""
    undisturbed, _ = rows_by_id(folder / "qa")
    rng = random.Random(1)
    num_killed = 0
    while num_killed < kills:
        (folder / "qa" / "card.json").unlink(missing_ok=True)
        process = in_its_own_process(folder, "check", shard_mib=shard_mib)
        time.sleep(rng.uniform(2.0, within_s))
        process.kill()
        process.communicate()
        num_killed += process.returncode == -signal.SIGKILL  # not one that had ended before
    (folder / "qa" / "card.json").unlink(missing_ok=True)
    measured(folder, "check", shard_mib=shard_mib)
    again, num_records = rows_by_id(folder / "qa")
    return {"kills": num_killed, "ids_unique": len(again) == num_records, "same_set": again == undisturbed}


def main() -> None:
    """Make, measure, kill if asked to, and add a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21_000, help="generated pairs")
    parser.add_argument("--proteins", type=int, default=500, help="proteins that the passages are about")
    parser.add_argument("--kills", type=int, default=0, help="kill step 2 at random moments so often, then compare")
    parser.add_argument("--shard-mib", type=int, default=16, help="size of a shard in memory")
    parser.add_argument("--stage", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage, folder = arguments.stage[0], Path(arguments.stage[1])
        check(folder, arguments.shard_mib * 2**20) if stage == "check" else split_corpus(folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folders(folder, arguments.pairs, arguments.proteins)
        told = measured(folder, "check", shard_mib=arguments.shard_mib)
        sizes = shard_rows(folder / "qa")
        row: dict[str, object] = {"pairs": arguments.pairs, "proteins": arguments.proteins, **told}
        row |= {"seconds": round(told["seconds"], 1), "pairs_per_s": round(told["rows"] / told["seconds"])}
        row |= {"unevenness": round(max(sizes) / min(sizes) - 1, 4), "shards": len(sizes)}
        row["shard_mib"] = arguments.shard_mib
        made = measured(folder, "split", shard_mib=arguments.shard_mib)
        row |= {"split_s": round(made["seconds"], 1), "test_proteins": made["test_proteins"]}
        row |= {"kills": 0, "ids_unique": None, "same_set": None}
        if arguments.kills:
            row |= killed_and_compared(folder, arguments.kills, told["seconds"], arguments.shard_mib)
        append("qa_corpus", {**row, **origin(torch.device("cpu"))})
        print(json.dumps(row))  # noqa: T201


if __name__ == "__main__":
    main()
