"""From generated texts to a corpus: checks, duplicates and shards at any size, and the driver's memory.

    python benchmarks/qa_corpus.py --pairs 210000 --proteins 5000     one size
    python benchmarks/qa_corpus.py --pairs 21000 --kills 5            killed so often, then compared

Writes a literature folder and the texts that a generator would have left, those of ``qa_world``, then runs step 2 of
`protein2text data qa` in a process of its own. A row of ``results/qa_corpus.csv`` holds the seconds, the pairs per
second, the peak of the driver's private memory, and by how much the largest shard exceeds the smallest. The peaks at
two sizes tell how the driver's memory grows.
"""

import argparse
import itertools
import json
import random
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
from protein2text.data.records import ROWS_PER_BLOCK, corpus_checksum, load_card, write_json, write_shard

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


def check(folder: Path) -> None:
    """Step 2 in this process; prints seconds, peak memory and the numbers of the summary."""
    import ray

    from protein2text.data.qa.run import make_qa

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    memory = PrivateMemory()
    memory.start()
    started = time.perf_counter()
    summary = make_qa(folder / "literature", folder / "qa", None)
    seconds = time.perf_counter() - started
    ray.shutdown()
    told = {"seconds": seconds, "driver_private_peak_mib": memory.peak_bytes // 2**20, "rows": summary.rows}
    print(json.dumps({**told, "records": summary.records}))  # noqa: T201  read by the parent


def in_its_own_process(folder: Path) -> "subprocess.Popen[str]":
    """``check`` as a child, to be measured or killed."""
    return subprocess.Popen([sys.executable, __file__, "--check", str(folder)], stdout=subprocess.PIPE, text=True)


def unevenness(folder: Path) -> float:
    """Share by which the largest shard of records exceeds the smallest, in rows."""
    sizes = [pq.read_metadata(folder / "records" / name).num_rows for name in load_card(folder)["shards"]["records"]]
    return max(sizes) / min(sizes) - 1


def main() -> None:
    """Make, measure, and add a row; or kill, run again and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21_000, help="generated pairs")
    parser.add_argument("--proteins", type=int, default=500, help="proteins that the passages are about")
    parser.add_argument("--kills", type=int, default=0, help="kill step 2 at random moments so often, then compare")
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folders(folder, arguments.pairs, arguments.proteins)
        told = json.loads(in_its_own_process(folder).communicate()[0].splitlines()[-1])
        row: dict[str, object] = {"pairs": arguments.pairs, "proteins": arguments.proteins, **told}
        row |= {"pairs_per_s": round(told["rows"] / told["seconds"]), "unevenness": round(unevenness(folder / "qa"), 4)}
        row["seconds"] = round(told["seconds"], 1)
        if arguments.kills:
            undisturbed = load_card(folder / "qa")["checksum"]
            (folder / "qa" / "card.json").unlink()
            rng = random.Random(1)
            for _ in range(arguments.kills):
                process = in_its_own_process(folder)
                time.sleep(rng.uniform(2.0, told["seconds"] + 4.0))
                process.kill()
                process.communicate()
            in_its_own_process(folder).communicate()
            same = load_card(folder / "qa")["checksum"] == corpus_checksum(folder / "qa") == undisturbed
            print(f"after {arguments.kills} kills: {'the same corpus' if same else 'ANOTHER CORPUS'}")  # noqa: T201
            return
        append("qa_corpus", {**row, **origin(torch.device("cpu"))})
        print(json.dumps(row))  # noqa: T201


if __name__ == "__main__":
    main()
