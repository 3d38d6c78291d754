"""Answering many questions: the product's batches against the published implementation's way, same weights.

    python benchmarks/predict.py            times both ways, on the CPU with the tiny preset
    python benchmarks/predict.py --memory   peak memory against the token bound and the number of records

64 proteins with log-normal lengths (median 294 residues, sigma 0.63), five questions each. Before anything is timed
both ways answer everything and must agree word for word; if they do not, nothing is timed. Rows are appended to
``results/predict.csv`` and ``results/predict_memory.csv``.
"""

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from reference_way import ReferenceWay
from rows import append, origin

from protein2text.answerers import AnswerConfig
from protein2text.generate.latent_store import encoder_batches
from protein2text.generate.model_answerer import CPU_RESIDUES, ModelAnswerer
from protein2text.generate.predict import PredictSummary, predict_with
from protein2text.memory import peak_bytes
from protein2text.models.model_config import BridgeConfig, DecoderConfig, EncoderConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText

CPU = torch.device("cpu")
NUM_PROTEINS, MEDIAN_RESIDUES, SIGMA, LIMITS = 64, 294, 0.63, (30, 4000)
MAX_NEW_TOKENS = 64


class Seconds(NamedTuple):
    """Of one round: by the clock, and of all processors together, which other work on the machine disturbs less."""

    wall: float
    cpu: float


QUESTIONS = (
    "What does this protein bind?",
    "What is its function?",
    "Where in the cell is it found?",
    "Which process does this protein take part in, and what is known of its partners there?",
    "Does it bind zinc?",
)
CONFIG = AnswerConfig(max_new_tokens=MAX_NEW_TOKENS)
VERSION = {"name": "tiny, random bridge", "manifest_sha256": ""}
COUNTED = ("forward_passes", "encoder_passes", "cache_hits", "padded_to_useful")
MEMORY_RECORDS, MEMORY_TOKENS = (320, 3200), (2048, 8192, 32768)


def make_model() -> ProteinToText:
    """The tiny preset's bases; a random bridge takes as long as a trained one."""
    torch.manual_seed(0)
    config = ModelConfig(
        encoder=EncoderConfig(source="preset:tiny/esm2", layer=-2),
        bridge=BridgeConfig(num_latents=16, depth=2, num_heads=4, head_dim=24),
        decoder=DecoderConfig(source="preset:tiny/llama"),
        long_proteins="exact",
    )
    return ProteinToText(config).requires_grad_(False).eval()


def make_records(num_proteins: int) -> list[dict[str, object]]:
    """Five questions on each of so many random proteins, in the published layout.

    More than 64 proteins have the lengths of the first 64 again, so that more records do not mean a longer longest one.
    """
    rng = random.Random(0)
    drawn = [round(rng.lognormvariate(math.log(MEDIAN_RESIDUES), SIGMA)) for _ in range(NUM_PROTEINS)]
    lengths = [min(max(length, LIMITS[0]), LIMITS[1]) for length in drawn]
    records: list[dict[str, object]] = []
    for number in range(num_proteins):
        sequence = "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=lengths[number % NUM_PROTEINS]))
        for place, question in enumerate(QUESTIONS):
            turns = [{"from": "human", "value": f"<protein_sequence>\n{question}"}]
            accession = f"R{number:05}"
            records.append(
                {
                    "long_format_id": f"{accession}_{place}",
                    "id": accession,
                    "amino_seq": sequence,
                    "conversations": turns,
                }
            )
    return records


def reference_answers(way: ReferenceWay, source: Path, output: Path) -> None:
    """One question after the other, a line for each."""
    with output.open("w", encoding="utf-8") as file:
        for record in json.loads(source.read_text(encoding="utf-8")):
            question = record["conversations"][0]["value"].replace("<protein_sequence>\n", "")
            predicted = way.answer(record["amino_seq"], question, MAX_NEW_TOKENS)
            row = {"long_format_id": record["long_format_id"], "Prompt": question, "Predicted": predicted}
            file.write(json.dumps(row) + "\n")


def batched_answers(model: ProteinToText, source: Path, folder: Path) -> PredictSummary:
    """The product, from file to file."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        summary = predict_with(ModelAnswerer(model, VERSION, CONFIG), source, Path(fresh) / "out.jsonl")
        (Path(fresh) / "out.jsonl").replace(folder / "batched.jsonl")
    return summary


def same_answers(folder: Path) -> bool:
    """Whether both ways wrote the same texts."""
    texts = [
        [json.loads(line)["Predicted"] for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        for name in ("reference.jsonl", "batched.jsonl")
    ]
    return texts[0] == texts[1] and len(set(texts[0])) > 1


def same_latents(way: ReferenceWay, model: ProteinToText, sequences: list[str]) -> bool:
    """Whether both ways encode alike, to 1e-5 of each protein's norm."""
    ours = batched_latents(model, sequences)
    theirs = [way.latents(sequence) for sequence in sequences]
    return all(float((a - b).norm() / b.norm()) < 1e-5 for a, b in zip(ours, theirs, strict=True))


@torch.inference_mode()
def batched_latents(model: ProteinToText, sequences: list[str]) -> list[torch.Tensor]:
    """Latents of distinct sequences as a prediction makes them."""
    bank: dict[str, torch.Tensor] = {}
    for batch in encoder_batches(sorted(sequences, key=len, reverse=True), CPU_RESIDUES):
        bank |= model.latent_bank(set(batch))
    return [bank[sequence] for sequence in sequences]


def timed(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[Seconds]]:
    """Seconds of each way; they take turns, so that a busy moment of the machine falls on all."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            started = Seconds(time.perf_counter(), time.process_time())
            work()
            seconds[name].append(Seconds(time.perf_counter() - started.wall, time.process_time() - started.cpu))
    return seconds


def report(op: str, seconds: dict[str, list[Seconds]], count: int, summary: PredictSummary | None) -> None:
    """One row per way; the ratio is the median of the rounds' own ratios to the product's time."""
    for name, rounds in seconds.items():
        pairs = list(zip(rounds, seconds["batched"], strict=True))
        values = [own.wall for own in rounds]
        cuts = statistics.quantiles(values, n=10, method="inclusive")
        counts = summary if name == "batched" else None
        row: dict[str, object] = {
            "op": op, "shape": f"{count} items", "provider": name, "p20_s": round(cuts[1], 3),
            "p50_s": round(statistics.median(values), 3), "p80_s": round(cuts[7], 3),
            "times_batched": round(statistics.median(own.wall / batched.wall for own, batched in pairs), 2),
            "p50_cpu_s": round(statistics.median(own.cpu for own in rounds), 3),
            "cpu_times_batched": round(statistics.median(own.cpu / batched.cpu for own, batched in pairs), 2),
            "items_per_s": round(count / statistics.median(values), 2),
            **{key: counts.work[key] if counts else "" for key in COUNTED}, **origin(CPU),
        }  # fmt: skip
        append("predict", row)
        sys.stdout.write(
            f"{op} {name}: p50 {row['p50_s']} s, {row['items_per_s']}/s, {row['times_batched']} x batched\n"
        )
    if summary is not None:
        sys.stdout.write(
            f"{op} batched: {summary.work['forward_passes']} forward passes, {summary.work['encoder_passes']} of the "
            f"encoder, {summary.work['cache_hits']} cache hits, padded to useful {summary.work['padded_to_useful']}\n"
        )


def compare(repeats: int) -> int:
    """Check that the ways agree, then time them; 1 when they do not."""
    model, records = make_model(), make_records(NUM_PROTEINS)
    sequences = list(dict.fromkeys(str(record["amino_seq"]) for record in records))
    ways = {"reference, eager attention": ReferenceWay(model, "eager"), "reference, sdpa": ReferenceWay(model, "sdpa")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.json"
        source.write_text(json.dumps(records), encoding="utf-8")
        for way in ways.values():
            reference_answers(way, source, folder / "reference.jsonl")
            summary = batched_answers(model, source, folder)
            if not (same_latents(way, model, sequences) and same_answers(folder)):
                sys.stderr.write("the two ways do not agree, so nothing is timed\n")
                return 1
        sys.stdout.write(f"{len(records)} answers agree word for word\n")
        seconds = timed(
            {"batched": lambda: batched_latents(model, sequences)}
            | {name: lambda way=way: [way.latents(sequence) for sequence in sequences] for name, way in ways.items()},
            repeats,
        )
        report("encode", seconds, len(sequences), None)
        seconds = timed(
            {"batched": lambda: batched_answers(model, source, folder)}
            | {name: lambda way=way: reference_answers(way, source, folder / "r.jsonl") for name, way in ways.items()},
            repeats,
        )
        report("predict", seconds, len(records), summary)
    return 0


def measure_memory(num_records: int, batch_tokens: int) -> None:
    """In a process of its own: the growth of its largest resident set over a loaded model, on stdout in bytes."""
    model = make_model()
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in.json"
        source.write_text(json.dumps(make_records(num_records // len(QUESTIONS))), encoding="utf-8")
        before = peak_bytes()
        config = CONFIG.model_copy(update={"batch_tokens": batch_tokens})
        predict_with(ModelAnswerer(model, VERSION, config), source, Path(name) / "out.jsonl")
    sys.stdout.write(f"{peak_bytes() - before}\n")


def memory() -> int:
    """Peak memory over the two that it may depend on."""
    for num_records in MEMORY_RECORDS:
        for batch_tokens in MEMORY_TOKENS:
            command = [sys.executable, __file__, "--memory-of", str(num_records), str(batch_tokens)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            grown = int(done.stdout.splitlines()[-1])
            row = {"op": "predict", "records": num_records, "batch_tokens": batch_tokens, "peak_bytes": grown}
            append("predict_memory", row | origin(CPU))
            sys.stdout.write(f"{num_records} records, batch_tokens {batch_tokens}: {grown / 2**20:.0f} MiB\n")
    return 0


def main() -> int:
    """Time, or measure memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds, at least 2")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--memory-of", nargs=2, type=int, metavar=("RECORDS", "TOKENS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        measure_memory(*arguments.memory_of)
        return 0
    return memory() if arguments.memory else compare(arguments.repeats)


if __name__ == "__main__":
    sys.exit(main())
