"""Run files: the presets hold the published numbers, and a wrong file is named with its key, value and remedy."""

from pathlib import Path
from typing import Any

import pytest

from protein2text.config import STAGES, RunConfig, load_run, presets
from protein2text.errors import ConfigError, MissingFile
from protein2text.train.plan import num_optimizer_steps

NUM_DESCRIPTIONS = 394_000
NUM_QUESTIONS = 210_000
PUBLISHED = ("protein2text-8b", "protein2text-8b-esm2-3b")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_preset_loads() -> None:
    assert presets() == ["protein2text-8b", "protein2text-8b-esm2-3b", "starter", "tiny", "tiny-real"]
    for name in presets():
        assert load_run(name).name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_hyperparameters(name: str) -> None:
    """REFERENCE of these numbers: the method table of the paper (Jararweh et al., NAACL 2025)."""
    run = load_run(name)
    shared = {
        "max_length": 2048,
        "weight_decay": 0.0,
        "warmup_ratio": 0.03,
        "schedule": "cosine",
        "precision": "bf16",
    }
    published = {
        "alignment": {"global_batch": 256, "learning_rate": 2e-3, "epochs": 1, **shared},
        "instruction": {"global_batch": 128, "learning_rate": 8e-6, "epochs": 5, **shared},
    }
    for stage in STAGES:
        assert {key: getattr(run.stage(stage), key) for key in published[stage]} == published[stage]
        assert run.stage(stage).max_steps is None
    bridge = run.model.bridge
    assert (bridge.num_latents, bridge.depth, bridge.num_heads, bridge.head_dim) == (128, 2, 8, 64)
    assert bridge.feed_forward_multiple == 2
    lora = run.model.decoder.lora
    assert (lora.rank, lora.alpha, lora.dropout) == (64, 16, 0.05)
    assert lora.target_modules == tuple(f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down"))
    assert run.model.encoder.layer == -2
    assert run.model.decoder.source == "meta-llama/Llama-3.1-8B-Instruct"
    assert run.tracking.model_name.startswith("Llama")


def test_published_step_counts() -> None:
    run = load_run("protein2text-8b")
    steps = [
        num_optimizer_steps(records, run.stage(stage).epochs, run.stage(stage).global_batch)
        for stage, records in zip(STAGES, (NUM_DESCRIPTIONS, NUM_QUESTIONS), strict=True)
    ]
    assert steps == [1_539, 8_203]


def test_the_larger_preset_differs_in_its_encoder_and_names_only() -> None:
    small, large = (load_run(name).model_dump() for name in PUBLISHED)
    assert large["model"]["encoder"].pop("source") == "facebook/esm2_t36_3B_UR50D"
    for run in (small, large):
        for key in ("source", "revision"):
            run["model"]["encoder"].pop(key, None)
        for key in ("name", "tracking"):
            run.pop(key)
    assert small == large


def test_hub_sources_are_pinned_to_a_commit() -> None:
    for name in presets():
        for part in (load_run(name).model.encoder, load_run(name).model.decoder):
            if part.source.startswith("preset:"):
                continue
            assert part.revision is not None
            assert len(part.revision) == 40
            assert int(part.revision, 16)


def test_extends_merges_section_by_section_and_the_file_wins(workdir: Path) -> None:
    write(workdir / "base.yaml", "extends: tiny\nname: base\nseed: 5\nalignment: {epochs: 9}\n")
    (workdir / "sub").mkdir()
    path = write(workdir / "sub" / "mine.yaml", "extends: ../base.yaml\nname: mine\nalignment: {global_batch: 8}\n")
    run, tiny = load_run(path), load_run("tiny")
    assert (run.name, run.seed) == ("mine", 5)
    expected = {**tiny.alignment.model_dump(), "epochs": 9, "global_batch": 8}
    assert run.alignment.model_dump() == expected
    assert run.instruction == tiny.instruction


def test_overrides_win_over_the_file_and_replace_lists_whole(workdir: Path) -> None:
    path = write(workdir / "mine.yaml", "extends: tiny\nname: mine\ndata: {corpus: [a, b]}\n")
    assert load_run(path, {"data": {"corpus": ["c"]}}).data.corpus == [str(workdir / "c")]


def test_relative_paths_start_at_the_working_directory(workdir: Path) -> None:
    (workdir / "weights" / "esm").mkdir(parents=True)
    text = "extends: tiny\nname: mine\noutput: out\ndata: {corpus: [c], split: s}\n"
    run = load_run(write(workdir / "mine.yaml", text + "model: {encoder: {source: weights/esm}}\n"))
    assert run.output == str(workdir / "out")
    assert run.folder == workdir / "out" / "mine"
    assert (run.data.corpus, run.data.split) == ([str(workdir / "c")], str(workdir / "s"))
    assert run.model.encoder.source == str(workdir / "weights" / "esm")
    assert run.model.decoder.source == "preset:tiny/llama"
    assert run.tracking.uri == f"sqlite:///{workdir}/out/mine/mlflow.db"


def test_a_hub_id_stays_a_hub_id(workdir: Path) -> None:
    assert load_run("starter").model.encoder.source == "facebook/esm2_t6_8M_UR50D"


def test_a_saved_run_reads_back_equal_from_another_directory(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run("tiny", {"data": {"corpus": ["c"], "split": "s"}})
    run.save(workdir / "kept" / "run.yaml")
    elsewhere = workdir / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_run(workdir / "kept" / "run.yaml") == run
    assert RunConfig.parse(run.model_dump(mode="json")) == run


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("extends: tiny\nalignmnt: {epochs: 2}\n", ["'alignmnt'", "did you mean 'alignment'"]),
        ("extends: tiny\nalignment: {learning_rat: 1}\n", ["alignment", "did you mean 'learning_rate'"]),
        ("extends: tiny\nmodel: {bridge: {num_latent: 1}}\n", ["model.bridge", "did you mean 'num_latents'"]),
        ("extends: tiny\nalignment: {epochs: many}\n", ["alignment.epochs", "integer", "'many'"]),
        ("extends: tiny\nalignment: {schedule: linear}\n", ["alignment.schedule", "cosine", "'linear'"]),
        ("extends: tiny\nversion: 2\n", ["version", "less than or equal to 1", "2"]),
        ("extends: tiny\nname: ../up\n", ["name", "pattern"]),
        ("extends: tiny\noutput: 7\n", ["output", "string", "7"]),
        ("extends: tiny\ndata: {corpus: one}\n", ["data.corpus", "list", "'one'"]),
        ("extends: tiny\ntracking: {uri: file:///x}\n", ["tracking", "neither a database nor a server", "sqlite:///FILE"]),
        ("extends: tiny\nmodel: 3\n", ["model", "3"]),
        ("name: x\n", ["model", "required"]),
        ("- a\n- b\n", ["mapping", "list"]),
        ("", ["mapping", "NoneType"]),
        ("extends: tiny\nseed: -1\n", ["seed", "greater than or equal to 0", "-1"]),
        (f"extends: tiny\nseed: {2**63}\n", ["seed", f"less than {2**63}", f"(value: {2**63})"]),
        ("extends: tiny\nalignment: {betas: [0.9, 1]}\n", ["alignment.betas.1", "less than 1", "(value: 1)"]),
        ("extends: tiny\nalignment: {betas: [-0.1, 0.9]}\n", ["alignment.betas.0", "or equal to 0", "(value: -0.1)"]),
        ("extends: tiny\nalignment: {betas: [.nan, 0.9]}\n", ["alignment.betas.0", "finite number", "nan"]),
        ("extends: tiny\nalignment: {learning_rate: .inf}\n", ["alignment.learning_rate", "finite number", "inf"]),
        ("extends: tiny\nalignment: {weight_decay: .nan}\n", ["alignment.weight_decay", "finite number", "nan"]),
        ("extends: tiny\nalignment: {state_cache_gib: .inf}\n", ["alignment.state_cache_gib", "finite number"]),
        ("extends: tiny\nscaling: {cpus_per_worker: .inf}\n", ["scaling.cpus_per_worker", "finite number", "inf"]),
        ("extends: tiny\nscaling: {num_workers: 1000001}\n", ["scaling.num_workers", "more than 1000000 workers"]),
        ("extends: tiny\nscaling: {num_workers: [1, 1000001]}\n", ["scaling.num_workers", "more than 1000000"]),
        (
            f"extends: tiny\nalignment: {{validation: {{max_records: {10**30}}}}}\n",
            ["alignment.validation.max_records", "1000000", f"{10**30}"],
        ),
        ("extends: tiny\nseed: true\n", ["seed=True", "truth value", "give a number"]),
        ("extends: tiny\nalignment: {warmup_ratio: no}\n", ["alignment: warmup_ratio=False", "truth value"]),
        ("extends: tiny\nalignment: {max_steps: yes}\n", ["alignment: max_steps=True", "truth value"]),
        ("extends: tiny\nalignment: {betas: [0.9, false]}\n", ["alignment: betas=[0.9, False]", "truth value"]),
        ("extends: tiny\nscaling: {zero_stage: true}\n", ["scaling: zero_stage=True", "truth value"]),
        ("extends: tiny\nname: on\n", ["name=True", "truth value", "put a word in quotes"]),
        ("extends: tiny\nseed: 1\nseed: 2\n", ["line 3", "'seed' stands twice"]),
        ("extends: tiny\nalignment: {epochs: 1, epochs: 1}\n", ["line 2", "'epochs' stands twice"]),
        ("extends: tiny\nscaling: {zero_stage: 3}\n", ["state_cache_gib needs scaling.zero_stage 2"]),
        ("name: [unclosed\n", ["line 2", "not readable as YAML"]),
        ("name: \x00\n", ["not readable as YAML"]),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_key_value_and_remedy(workdir: Path, text: str, parts: list[str]) -> None:
    path = write(workdir / "wrong.yaml", text)
    with pytest.raises(ConfigError) as caught:
        load_run(path)
    for part in ["wrong.yaml", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("data", "features", ""),
        ("data", "features", " "),
        ("data", "features", "s3://bucket/features"),
        ("checkpoint_store", "url", ""),
    ],
)
def test_what_names_no_folder_is_refused_rather_than_made_one_here(section: str, key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run("tiny", {section: {key: value}})
    assert all(part in str(caught.value) for part in (section, key, repr(value), "folder"))


def test_a_file_that_extends_itself_is_an_error(workdir: Path) -> None:
    write(workdir / "a.yaml", "extends: b.yaml\n")
    with pytest.raises(ConfigError, match="comes back to itself"):
        load_run(write(workdir / "b.yaml", "extends: a.yaml\n"))


@pytest.mark.parametrize("source", ["absent.yaml", "tinny"])
def test_a_missing_file_is_an_error_that_lists_the_presets(workdir: Path, source: str) -> None:
    with pytest.raises(MissingFile, match="starter, tiny") as caught:
        load_run(source)
    assert str(workdir / source) in str(caught.value)


def test_a_folder_is_no_run_and_is_not_said_to_be_missing(workdir: Path) -> None:
    (workdir / "demo").mkdir()
    with pytest.raises(ConfigError, match=r"demo: run: is a folder; name the YAML file"):
        load_run("demo")


def test_an_unknown_stage_is_an_error() -> None:
    with pytest.raises(ConfigError, match="alignment and instruction"):
        load_run("tiny").stage("pretraining")


def test_a_built_configuration_has_absolute_paths_too(workdir: Path) -> None:
    values: dict[str, Any] = load_run("tiny").model_dump()
    parts = {key: getattr(load_run("tiny"), key) for key in ("model", "alignment", "instruction", "data")}
    assert RunConfig(name="x", **parts).output == str(workdir / "runs")
    assert values["output"] == str(workdir / "runs")
