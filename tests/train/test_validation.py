"""Validation while training: which records, what their losses are, and that training does not notice.

The world is one that a small random model learns in seconds: what a protein does is told by its composition.
"""

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from protein2text.config import RunConfig
from protein2text.data.records import RECORD_SCHEMA, RECORD_VERSION, make_record, write_shard
from protein2text.data.split_folder import write_split
from protein2text.models.batches import pack
from protein2text.models.chat import IGNORED, Example
from protein2text.models.protein_to_text import ProteinToText
from protein2text.proteins import Protein
from protein2text.train.events import parsed, read_events, read_steps
from protein2text.train.stage_config import Stage
from protein2text.train.task import StageTask, ValidationRecord
from protein2text.train.validation import remembered
from protein2text.train.validation_records import validation_records

WHOLE = {
    "loss": 2.0, "loss_shuffled": 2.5, "loss_swapped": 3.0, "error_shuffled": 0.1, "error_swapped": None,
    "num_records": 9, "num_proteins": 1,
}  # fmt: skip
ACIDIC, AROMATIC = ("DENQ", "Binds iron and sulfur."), ("FWYL", "Carries copper across a membrane.")
NUM_PROTEINS, NUM_VALIDATION, NUM_TEST = 40, 12, 4


def write_world(folder: Path, *, permuted: bool) -> None:
    """``corpus`` and ``split``; permuted, the texts belong to other proteins than their own."""
    dice = random.Random(0)
    kinds = [(ACIDIC, AROMATIC)[number % 2] for number in range(NUM_PROTEINS)]
    texts = [text for _, text in kinds]
    if permuted:
        dice.shuffle(texts)
    records = []
    for number, (letters, _) in enumerate(kinds):
        protein = Protein(f"P{number:02}", "".join(dice.choices(letters, k=dice.randint(10, 40))))
        records.append(
            make_record(protein.accession, [protein], source="test", text=f"{texts[number]} It is {number}.")
        )
        question = [{"role": "user", "content": "<protein_sequence>\nWhat does it do?"}]
        messages = [*question, {"role": "assistant", "content": texts[number]}]
        for copy in range(1 + number % 3):
            records.append(make_record(f"{protein.accession}:q{copy}", [protein], source="test", messages=messages))  # type: ignore[arg-type]
    write_shard(pa.Table.from_pylist(records, schema=RECORD_SCHEMA), folder / "corpus/records/part-00000.parquet")
    card = {"version": RECORD_VERSION, "checksum": "0" * 64, "shards": {"records": ["part-00000.parquet"]}}
    (folder / "corpus" / "card.json").write_text(json.dumps(card | {"licences": {"not stated": len(records)}}))
    sides = ["test"] * NUM_TEST + ["validation"] * NUM_VALIDATION + ["train"] * NUM_PROTEINS
    rows = [
        {"accession": f"P{number:02}", "split": sides[number], "cluster": f"c{number}"}
        for number in range(NUM_PROTEINS)
    ]
    write_split(folder / "split", rows, {"kind": "by_cluster"})


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {name: tmp_path_factory.mktemp(name) for name in ("told", "permuted")}
    for name, folder in found.items():
        write_world(folder, permuted=name == "permuted")
    return found


@pytest.fixture
def values(run_values: dict[str, Any], worlds: dict[str, Path]) -> dict[str, Any]:
    """A run of six steps on two workers with two validations, as a mapping to change."""
    return on_world(run_values, worlds["told"])


def on_world(run_values: dict[str, Any], world: Path, **stage: Any) -> dict[str, Any]:
    common = {"validation": {"interval_steps": 4}, "max_steps": 6} | stage
    stages = {name: run_values[name] | common for name in ("alignment", "instruction")}
    return run_values | stages | {"data": {"corpus": [str(world / "corpus")], "split": str(world / "split")}}


def configured(values: dict[str, Any], name: str, **changes: Any) -> RunConfig:
    return RunConfig.parse(values | {"name": name} | changes)


def with_validation(values: dict[str, Any], stage: str, **settings: Any) -> dict[str, Any]:
    return values | {stage: values[stage] | {"validation": values[stage]["validation"] | settings}}


def without_cache(values: dict[str, Any]) -> dict[str, Any]:
    return values | {stage: values[stage] | {"state_cache_gib": 0} for stage in ("alignment", "instruction")}


def validations(task: StageTask) -> dict[int, dict[str, Any]]:
    return {event["step"]: event["validation"] for event in read_events(task.events) if "validation" in event}


def warnings(task: StageTask) -> list[str]:
    return [event["message"] for event in read_events(task.events) if event.get("level") == "warning"]


def losses(task: StageTask) -> list[float]:
    return [event["loss"] for event in read_steps(task.events)]


def final_weights(task: StageTask) -> dict[str, torch.Tensor]:
    return load_file(task.checkpoints / f"step-{task.num_steps:08}" / "weights.safetensors")


def test_records_are_held_out_spread_over_proteins_and_shown_with_other_proteins(values: dict[str, Any]) -> None:
    config = configured(with_validation(values, "instruction", max_records=14), "records")
    records, told = validation_records(config, "instruction")
    assert told == "validation every 4 steps on 14 held-out records of 12 proteins"
    assert Counter(Counter(record.record_id[:3] for record in records).values()) == {1: 10, 2: 2}
    assert {record.record_id[:3] for record in records} == {
        f"P{n:02}" for n in range(NUM_TEST, NUM_TEST + NUM_VALIDATION)
    }
    for record in records:
        (true,), (shuffled,), (swapped,) = (record.sequences[name] for name in ("true", "shuffled", "swapped"))
        assert Counter(shuffled) == Counter(true)
        assert shuffled != true
        assert set(swapped) <= set("DENQ") if true[0] in "FWYL" else set(swapped) <= set("FWYL")
    shuffled_files = configured(with_validation(values, "instruction", max_records=14), "again", seed=5)
    assert validation_records(shuffled_files, "instruction")[0] == records


def test_why_there_is_no_validation_is_said(values: dict[str, Any], small_world: Path) -> None:
    def told(changed: dict[str, Any]) -> str:
        records, sentence = validation_records(configured(changed, "off"), "alignment")
        assert records == ()
        return sentence

    data = values["data"]
    assert told(with_validation(values, "alignment", max_records=0)).endswith("max_records is 0")
    assert told(values | {"data": data | {"split": None}}).endswith("the run has no split (data.split)")
    without = {"corpus": [str(small_world / "corpus")], "split": str(small_world / "split")}
    assert told(values | {"data": without}).endswith("small-world0/split holds no record of this stage")
    short = values["alignment"] | {"max_length": 8}
    assert told(values | {"alignment": short}).endswith(
        "none of 12 records fits max_length and has a protein to swap with"
    )


@pytest.mark.parametrize(("stage", "zero_stage"), [("instruction", 2), ("alignment", 3)])
def test_training_does_not_notice_validation(
    values: dict[str, Any], train_on: Any, two_workers: Any, stage: Stage, zero_stage: int
) -> None:
    """Bit-equal losses and weights with and without validation, dropout of the instruction stage included."""
    tasks: list[StageTask] = []
    for name, max_records in (("with", 64), ("without", 0)):
        changed = without_cache(with_validation(values, stage, max_records=max_records))
        config = configured(changed, name, scaling={"num_workers": 2, "zero_stage": zero_stage})
        if stage == "instruction" and tasks:
            shutil.copytree(tasks[0].config.folder / "alignment" / "model", config.folder / "alignment" / "model")
        elif stage == "instruction":
            train_on(two_workers, config, "alignment")
        tasks.append(train_on(two_workers, config, stage))
    assert list(validations(tasks[0])) == [4, 6]
    assert not validations(tasks[1])
    assert losses(tasks[0]) == losses(tasks[1])
    weights = [final_weights(task) for task in tasks]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def plain_losses(model: ProteinToText, record: ValidationRecord, control: str) -> float:
    batch = pack([Example(record.ids, record.labels)], [record.sequences[control]], model.config.bridge)
    with torch.no_grad():
        return model(batch).item()


@pytest.mark.parametrize(
    ("workers", "zero_stage", "state_cache_gib"),
    [("one_worker", 2, 0), ("two_workers", 0, 0), ("two_workers", 3, 0), ("two_workers", 2, 1e-5)],
)
def test_losses_are_those_of_one_record_at_a_time(
    request: pytest.FixtureRequest, values: dict[str, Any], train_on: Any,
    workers: str, zero_stage: int, state_cache_gib: float,
) -> None:  # fmt: skip
    """Of the finished model, divided over workers, within 1e-5 relative."""
    changed = without_cache(values)
    changed["alignment"] |= {"state_cache_gib": state_cache_gib}
    group = request.getfixturevalue(workers)
    scaling = {"num_workers": len(group.processes), "zero_stage": zero_stage}
    task = train_on(group, configured(changed, "divided", scaling=scaling))
    model = ProteinToText.from_pretrained(task.folder / "model")
    num_tokens = sum(label != IGNORED for record in task.validation for label in record.labels)
    newest = validations(task)[6]
    assert (newest["num_records"], newest["num_proteins"]) == (12, 12)
    for key, control in (("loss", "true"), ("loss_shuffled", "shuffled"), ("loss_swapped", "swapped")):
        total = sum(plain_losses(model, record, control) for record in task.validation)
        assert newest[key] == pytest.approx(total / num_tokens, rel=1e-5)


def test_the_newest_loss_is_kept_with_each_checkpoint_and_known_after_a_stop(
    values: dict[str, Any], train_on: Any, two_workers: Any
) -> None:
    values["alignment"] |= {"checkpoint_interval_steps": 3, "keep_checkpoints": 9, "max_steps": 11}
    whole = train_on(two_workers, configured(values, "whole"))
    train_on(two_workers, configured(values, "stopped"), stop_after=7)
    stopped = train_on(two_workers, configured(values, "stopped"))
    assert validations(whole) == validations(stopped)
    for task in (whole, stopped):
        kept = {
            folder.name: json.loads((folder / "trainer.json").read_text())["validation_loss"]
            for folder in sorted(task.checkpoints.iterdir())
        }
        found = {step: numbers["loss"] for step, numbers in validations(task).items()}
        newest = {3: None, 6: found[4], 9: found[8], 11: found[11]}
        assert kept == {f"step-{step:08}": loss for step, loss in newest.items()}


@pytest.mark.parametrize("world", ["told", "permuted"])
def test_a_model_that_reads_is_told_from_one_that_cannot(
    run_values: dict[str, Any], worlds: dict[str, Path], train_on: Any, one_worker: Any, world: str
) -> None:
    """In the one world composition tells the text, and nothing else does; in the other nothing tells it.

    One worker: that two find the same losses is the test of losses one record at a time.
    """
    validation = {"interval_steps": 15}
    values = on_world(run_values, worlds[world], validation=validation, max_steps=60, epochs=20)
    task = train_on(one_worker, configured(values, world, scaling={"num_workers": 1}))
    newest = validations(task)[60]
    difference = newest["loss_swapped"] - newest["loss"]
    said = warnings(task)
    if world == "told":
        assert difference > 5 * newest["error_swapped"]
        assert all("no more of the protein than its composition" in warning for warning in said)
    else:
        assert difference < 2 * newest["error_swapped"]
        assert "the model is not reading the protein: after 60 of 60 steps" in said[-1]


@pytest.mark.parametrize(
    "numbers",
    [
        {"loss": 1.0},
        {name: value for name, value in WHOLE.items() if name != "num_proteins"},
        WHOLE | {"loss_swapped": None},
        WHOLE | {"perplexity": 7.0},
    ],
)
def test_validations_that_lack_a_number_are_passed_over(numbers: dict[str, Any]) -> None:
    def told(step: int, numbers: dict[str, Any]) -> dict[str, Any]:
        return {"stage": "alignment", "step": step, "validation": numbers}

    lines = [told(4, WHOLE), told(8, WHOLE), told(8, numbers), told(12, WHOLE), told(16, numbers)]
    found = remembered(parsed(json.dumps(line).encode() for line in lines), last_step=8)
    assert [validation.step for validation in found] == [4, 8]
    assert found[-1].loss == 2.0
