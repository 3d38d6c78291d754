"""The benchmark runner: no timing of what is red, and rows that say where they come from."""

import importlib.util
import json
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from Bio import SwissProt

from protein2text.models.model_config import BridgeConfig


def script(repository: Path, name: str) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", repository / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(repository / "benchmarks"))  # as Python does for a script
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(repository / "benchmarks"))


@pytest.fixture(scope="module")
def runner(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "run")


@pytest.fixture(scope="module")
def prediction(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "predict")


@pytest.fixture(scope="module")
def splitting(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "split")


@pytest.fixture(scope="module")
def asking(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "neighbours")


@pytest.fixture(scope="module")
def stepping(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "train_step")


@pytest.fixture(scope="module")
def aims(repository: Path) -> Iterator[ModuleType]:
    yield from script(repository, "step_targets")


@pytest.mark.parametrize(("body", "green"), [("assert 1 + 1 == 2", True), ("assert 1 + 1 == 3", False)])
def test_only_green_operations_are_timed(runner: ModuleType, tmp_path: Path, body: str, green: bool) -> None:
    tests = tmp_path / "test_operation.py"
    tests.write_text(f"def test_operation():\n    {body}\n", encoding="utf-8")
    assert runner.passes(tests) == green


def test_every_case_has_tests_and_a_row_with_all_columns(runner: ModuleType) -> None:
    assert all(case.tests.is_file() for case in runner.CASES)
    small = BridgeConfig(num_latents=2, depth=1, num_heads=1, head_dim=4)
    providers = (runner.OURS, runner.LOOP, runner.PADDED_LOOP)
    cases = [
        runner.cross_attention([3, 5], latents=2, heads=1, channels=4),
        *(runner.resampler([5, 3], small, 8, provider) for provider in providers),
    ]
    rows = runner.measure(cases, torch.device("cpu"), repeats=4)
    assert all(tuple(row) == runner.COLUMNS for row in rows)
    assert all(0 < row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"] for row in rows)
    assert rows[0]["shape"] == "B=2 S=8 K=2 H=1 C=4"
    assert [row["provider"] for row in rows] == ["naive", *providers]
    lengths = runner.reviewed_lengths(9)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[4] == 294


def test_the_references_way_and_batches_write_the_same_answers(prediction: ModuleType, tmp_path: Path) -> None:
    model, records = prediction.make_model(), prediction.make_records(3)
    way = prediction.ReferenceWay(model, "eager")
    (tmp_path / "in.json").write_text(json.dumps(records), encoding="utf-8")
    prediction.reference_answers(way, tmp_path / "in.json", tmp_path / "reference.jsonl")
    prediction.batched_answers(model, tmp_path / "in.json", tmp_path)
    assert prediction.same_answers(tmp_path)
    assert prediction.same_latents(way, model, [record["amino_seq"] for record in records[::5]])
    lines = (tmp_path / "reference.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 15
    other = json.dumps({**json.loads(lines[7]), "Predicted": "another answer"})
    (tmp_path / "reference.jsonl").write_text("\n".join([*lines[:7], other, *lines[8:]]), encoding="utf-8")
    assert not prediction.same_answers(tmp_path), "one answer that differs forbids timing"


def test_split_is_measured_on_families_of_realistic_lengths(splitting: ModuleType, tmp_path: Path) -> None:
    numbered = list(splitting.families(2000))
    assert numbered == list(splitting.families(2000))
    assert len(numbered) == 2000
    made = [sequence for _, sequence in numbered]
    assert 250 < statistics.median(map(len, made)) < 340
    row = splitting.measure(60, tmp_path)
    assert row["sequences"] == 60
    assert row["residues"] == sum(map(len, made[:60]))
    assert row["search"] == "exhaustive"
    assert 0 < row["search_s"] < row["total_s"]
    assert row["peak_together_bytes"] >= row["peak_python_bytes"] / 2 > 0
    assert list(row)[-len(splitting.origin(torch.device("cpu"))) :] == list(splitting.origin(torch.device("cpu")))


def test_queries_have_relatives_among_the_entries_that_share_their_statements(
    asking: ModuleType, tmp_path: Path
) -> None:
    asking.write_sources(150, tmp_path)
    families = dict(reversed(member) for member in asking.families(300))
    with (tmp_path / "entries.dat").open() as file:
        entries = list(SwissProt.parse(file))
    queries = json.loads((tmp_path / "queries.json").read_text())
    assert len(entries) == len(queries) == 150
    assert not {sequence for _, sequence in queries} & {entry.sequence for entry in entries}
    numbers, said = defaultdict(list), defaultdict(set)
    for entry in entries:
        number = families[entry.sequence]
        assert f"synthetic protein family {number}." in " ".join(entry.comments)
        numbers[number].append(re.search(r"EC=([\d.]+)", entry.description)[1])
        said[number].update(link[1] for link in entry.cross_references if link[0] == "GO")
    assert {number for number, _ in queries} & set(numbers)
    large = max(numbers, key=lambda number: len(numbers[number]))
    assert len(numbers[large]) > 5
    assert len(set(numbers[large])) == 2  # some members stray in the fourth digit
    assert len({number.rpartition(".")[0] for number in numbers[large]}) == 1
    assert len(said[large]) == 3


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
def test_a_plain_step_has_the_loss_and_gradients_of_the_products(stepping: ModuleType, stage: str) -> None:
    """Of six records in fp32; the weights do not move, so each way finds the same ones."""
    world = stepping.world_of("tiny", stage, 1.0, 6, torch.device("cpu"))
    ways, found = stepping.Ways(world, stage, bf16=False), []
    ways.num_records = 4
    for way in (ways.product, ways.plain):
        ways.engine.step = lambda: None
        loss = float(way())
        found.append((loss, {name: value.grad.clone() for name, value in world.model.trainable().items()}))
        world.model.zero_grad()
    (ours, our_gradients), (plain, gradients) = found
    assert ours == pytest.approx(plain, rel=1e-5)
    for name, gradient in gradients.items():
        difference = (our_gradients[name] - gradient).norm()
        assert difference <= 1e-3 * gradient.norm() + 1e-7, name


def test_a_step_is_timed_in_rows_that_say_what_was_measured(
    stepping: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, object]] = []
    monkeypatch.setattr(stepping, "append", lambda file, row: rows.append(row))
    monkeypatch.setattr(stepping, "LEAST_REPEATS", 2)
    forever, none_left = float("inf"), 0.0
    assert stepping.measure("tiny", "instruction", 0.5, 3, torch.device("cpu"), 2, forever)
    assert [row["provider"] for row in rows] == ["product", "plain LLaVA", "product, cached features"]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[2]["useful_tflop"] < rows[0]["useful_tflop"] == rows[1]["useful_tflop"]
    assert all(0 < row["p20_s"] <= row["p50_s"] <= row["p80_s"] for row in rows)
    assert stepping.measure("tiny", "alignment", 0.5, 3, torch.device("cpu"), 2, none_left)
    assert len(rows) == 3, "what the time does not allow has no row"


def test_a_step_that_differs_is_not_timed(stepping: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[object] = []
    monkeypatch.setattr(stepping, "append", lambda file, row: rows.append(row))
    monkeypatch.setattr(
        stepping.LlavaWay, "_pool", lambda self, states: torch.zeros(16, self.model.decoder.width, requires_grad=True)
    )
    assert not stepping.measure("tiny", "alignment", 1.0, 3, torch.device("cpu"), 2, float("inf"))
    assert not rows


def test_targets_of_a_step_are_judged_by_the_last_whole_rows_of_their_card(aims: ModuleType, tmp_path: Path) -> None:
    header = "stage,provider,preset,scale,shape,p50_s,mfu,device"
    whole, cached = '"256 records, 9 tokens"', '"product, cached features"'
    fine = [
        f"alignment,product,protein2text-8b,1.0,{whole},9,0.1,NVIDIA H200",  # measured again in the next row
        f"alignment,product,protein2text-8b,1.0,{whole},3,0.55,NVIDIA H200",
        f"alignment,plain LLaVA,protein2text-8b,1.0,{whole},6,0.2,NVIDIA H200",
        'instruction,product,protein2text-8b,1.0,"128 records, 9 tokens",2,0.4,NVIDIA H200',
    ]
    others = [
        f"instruction,{cached},protein2text-8b,1.0,{shape},1,0.9,{card}"
        for shape, card in (('"64 records, 9 tokens"', "NVIDIA H200"), ('"128 records, 9 tokens"', "NVIDIA H100 PCIe"))
    ]
    (tmp_path / "rows.csv").write_text("\n".join([header, *fine, *others]) + "\n", encoding="utf-8")
    assert aims.judged(aims.read(tmp_path / "rows.csv")) == [
        "missed: alignment, product: at least 2.5 times as fast as the plain step; 2.00",
        "met: alignment, product: at least 0.5 of the card's peak (MFU); 0.55",
        "met: alignment, product: at most 1.7 hours; 1.28",
        "missed: instruction, product: at most 4.2 hours; 4.56",
        "not measured: instruction, product, cached features: at least 2.5 times as fast as the plain step",
    ]


def test_what_was_published_of_other_cards_is_told_apart_from_the_targets(
    aims: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    aims.main()
    ours, published = (part.splitlines() for part in capsys.readouterr().out.split("\n\n"))
    assert len(ours) == len(aims.TARGETS)
    assert published == [
        "published: alignment, 8-13 hours on 2 x H100 PCIe 80 GB, 16-26 GPU-hours",
        "published: instruction, 12-20 hours on 2 x H100 PCIe 80 GB, 24-40 GPU-hours",
    ]


BARE_GPU = """
import sys
for name in ("ray", "deepspeed", "mlflow", "esm", "typer", "pyarrow", "fastapi"):
    sys.modules[name] = None
sys.path.insert(0, "benchmarks")
import torch, train_step
assert train_step.world_of("tiny", "alignment", 0.5, 1, torch.device("cpu")).planned.size.num_supervised > 0
print("imported")
"""


def test_a_step_needs_neither_ray_nor_deepspeed(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BARE_GPU], cwd=repository, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr
