"""Model to report, in this process and on Ray."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from protein2text.answerers import open_answerer
from protein2text.config import RunConfig, load_run
from protein2text.errors import BeyondTraining, ConfigError, CorruptCheckpoint, MissingFile, ResourcesUnavailable
from protein2text.evaluate.answer import answer_here, decoding_of
from protein2text.evaluate.controls import Request
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.run import EvaluationResult, evaluate
from protein2text.models.chat import encode_prompt
from protein2text.models.encoders import family_of, register
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from tests.evaluate.random_model import write_random_bases, write_random_model
from tests.evaluate.stored import write_sample_world


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("evaluation")
    return load_run(
        "tiny",
        {
            "name": "evaluated",
            "output": str(folder),
            "model": write_random_bases(folder / "bases"),
            "data": write_sample_world(folder),
            "evaluation": {
                "max_items": 30,
                "max_new_tokens": 6,
                "resamples": 1000,
                "num_actors": 0,
                "batch_tokens": 900,
            },
        },
    )


@pytest.fixture(scope="module")
def model_dir(config: RunConfig) -> Path:
    return write_random_model(config.folder / "model", config.model)


@pytest.fixture(scope="module")
def result(config: RunConfig, model_dir: Path) -> tuple[EvaluationResult, list[dict]]:
    events: list[dict] = []
    return evaluate(str(model_dir), config, on_event=events.append), events


def answers_of(result: EvaluationResult) -> dict[tuple[str, str], str]:
    lines = [json.loads(line) for line in Path(result.answers).read_text().splitlines()]
    return {(line["row"], line["item_id"]): line["answer"] for line in lines}


def test_an_untrained_model_is_not_said_to_read(result: tuple[EvaluationResult, list[dict]], config: RunConfig) -> None:
    found, events = result
    assert found.verdict in {"does not read the protein", "cannot tell"}
    assert found.sentence in Path(found.report_html).read_text().replace("&#39;", "'")
    report = json.loads(Path(found.report_json).read_text())
    assert report["counts"]["num_items"] == 30
    assert report["split"]["kind"] == "by_member"
    assert report["data"]["corpus"].keys() == set(config.data.corpus)
    assert report["exposure"]["num_seen"] is None, "this model's folder does not say what it was trained on"
    assert (
        events[-1]["step"]
        == events[-1]["num_steps"]
        == sum(row["num_answers"] for row in report["rows"] if row["name"] in {"true", "swapped", "shuffled", "none"})
    )


def test_test_items_are_held_out_questions_never_descriptions(result: tuple[EvaluationResult, list[dict]]) -> None:
    report = json.loads(Path(result[0].report_json).read_text())
    kinds = {group["group"] for group in report["groups"][0]["groups"]}
    assert kinds <= {"binds", "kind", "location", "process", "yes_no", "pair"}
    assert report["counts"]["num_items_before_draw"] > 30


def test_batch_size_does_not_change_greedy_answers(model_dir: Path) -> None:
    """They are those of the model's own generation, one request at a time."""
    messages = ({"role": "user", "content": "<protein_sequence>\nWhat does this protein bind?"},)
    requests = [Request(f"r{n}", "true", messages, ("MKTAYIAKQR" * (1 + n % 5),), ("A",)) for n in range(12)]
    few, many = (
        open_answerer(str(model_dir), decoding_of(EvaluationConfig(batch_tokens=tokens, max_new_tokens=8)))
        for tokens in (1, 100_000)
    )
    texts = [[reply.text for reply in answer_here(each, requests, lambda event: None)] for each in (few, many)]
    model = ProteinToText.from_pretrained(model_dir)
    prompts = [encode_prompt(model.tokenizer, request.messages) for request in requests]
    settings = Decoding(max_new_tokens=8)
    alone = [
        model.generate([prompt], [request.sequences], settings)[0]
        for prompt, request in zip(prompts, requests, strict=True)
    ]
    assert texts == [alone, alone]


def test_a_damaged_model_is_refused(config: RunConfig, model_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for path in model_dir.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = bytearray((copy / "bridge.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "bridge.safetensors").write_bytes(weights)
    with pytest.raises(CorruptCheckpoint, match=r"bridge\.safetensors"):
        evaluate(str(copy), config, str(tmp_path / "out"))


def test_a_protein_that_the_model_refuses_is_named_before_the_first_answer(config: RunConfig, tmp_path: Path) -> None:
    register(replace(family_of(config.model.encoder), name="esm2-crops-of-20", training_residues=20))
    encoder = config.model.encoder.model_copy(update={"family": "esm2-crops-of-20"})
    short = config.model.model_copy(update={"encoder": encoder, "long_proteins": "refuse"})
    folder = write_random_model(tmp_path / "model", short)
    with pytest.raises(BeyondTraining, match="trained on up to 20, and the model's long_proteins=refuse"):
        evaluate(str(folder), config, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_missing_inputs_are_named(config: RunConfig, model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no-model"):
        evaluate(str(tmp_path / "no-model"), config, str(tmp_path))
    changes = {"corpus": ([], ConfigError), "split": (None, MissingFile)}
    for key, (value, error) in changes.items():
        data = config.data.model_copy(update={key: value})
        with pytest.raises(error, match=f"data.{key}"):
            evaluate(str(model_dir), config.model_copy(update={"data": data}), str(tmp_path))


def test_actors_answer_as_this_process_does(
    local_ray: str, result: tuple[EvaluationResult, list[dict]], config: RunConfig, model_dir: Path, tmp_path: Path
) -> None:
    on_ray = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"num_actors": 1})})
    found = evaluate(str(model_dir), on_ray, str(tmp_path))
    assert answers_of(found) == answers_of(result[0])
    assert found.table == result[0].table


def test_more_actors_than_the_cluster_holds_are_refused_with_the_numbers(
    local_ray: str, config: RunConfig, model_dir: Path, tmp_path: Path
) -> None:
    many = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"num_actors": 64})})
    with pytest.raises(ResourcesUnavailable, match=r"65 CPU.*has 4"):
        evaluate(str(model_dir), many, str(tmp_path))
