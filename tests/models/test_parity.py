"""Our model in compatibility mode against recordings: the real one, and the plain oracle's at other shapes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.errors import CorruptCheckpoint, MissingFile
from protein2text.models.conversion import convert
from protein2text.models.decoder import Decoder
from protein2text.models.generation import stop_ids
from protein2text.models.model_config import DecoderConfig
from protein2text.models.parity import (
    STAGES,
    ParityFolder,
    ProteinParity,
    compare,
    compare_record,
    judge_ids,
    spacing,
)
from protein2text.models.protein_to_text import ProteinToText
from tests.models.conftest import relative_error
from tests.models.plain_reference import PlainReference
from tests.models.recordings import LLAMA3, Recording, Shape, record

SHAPES = {
    "deep, llama3 positions, extra rows, adapter in .bin": Shape(
        encoder_layers=7, encoder_heads=5, encoder_width=40, layers=5, heads=6, groups=2, head_dim=10, feed_forward=72,
        rope_scaling=LLAMA3, extra_rows=7, depth=4, bridge_heads=3, bridge_head_dim=4, multiple=3, num_latents=5,
        rank=3, alpha=16, adapter="adapter_model.bin", adapter_dtype=torch.float16, bridge_dtype=torch.float16,
        lengths=(1, 64, 1200),
    ),
    "tied embeddings, one group per head, heads untold, esm prefix": Shape(
        encoder_layers=2, layers=1, heads=2, groups=2, head_dim=32, tied=True, depth=1, bridge_heads=8,
        bridge_head_dim=2, multiple=1, num_latents=1, states_heads=False, rank=16, alpha=32, prefix="esm.",
        bridge_dtype=torch.float32, adapter_dtype=torch.bfloat16, lengths=(2, 257, 31),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(SHAPES))
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("recording"), SHAPES[request.param], seed=3)


@pytest.fixture(scope="module")
def model(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> ProteinToText:
    native = tmp_path_factory.mktemp("native") / "model"
    convert(recording.published, native, base=str(recording.base), encoder=str(recording.encoder))
    return ProteinToText.from_pretrained(native, compat=True)


def test_the_oracle_agrees_with_the_golden_recording(golden: Path) -> None:
    folder = golden / "reference-tiny"
    oracle = PlainReference(folder / "protein2text-tiny", folder / "base-llama", folder / "facebook" / "esm2_tiny")
    ours = Decoder(DecoderConfig(source=str(folder / "base-llama")), compat=True)
    recorded, texts = load_file(folder / "recorded.safetensors"), json.loads((folder / "recorded.json").read_text())
    for number, entry in enumerate(json.loads((folder / "input.json").read_text())):
        answer = oracle.answer(entry)
        assert answer.prompt == texts[number]["prompt"]
        assert ours.text_of(recorded[f"{entry['id']}.generated_ids"].tolist()) == texts[number]["text"]
        assert answer.input_ids == recorded[f"{entry['id']}.input_ids"].tolist()
        for stage in STAGES:
            assert relative_error(getattr(answer, stage), recorded[f"{entry['id']}.{stage}"]) < 1e-2


def test_other_shapes_hold(recording: Recording, model: ProteinToText) -> None:
    parts = ParityFolder.find(recording.folder)
    rows = [compare_record(model, entry, parts.of(number, entry)) for number, entry in enumerate(parts.records)]
    assert len(rows) == 3
    for row in rows:
        assert row.passed, row
        assert max(row.errors.values()) < 5e-3, row
    assert rows[0].num_ids < 12  # the answer ended where its end token came


def test_answers_are_the_recorded_ones(recording: Recording, model: ProteinToText) -> None:
    """Whole answers, from question to text: prompt, end, control tokens left out, spaces cleaned up."""
    greedy = model.decoding.model_copy(update={"temperature": 0.0, "max_new_tokens": 12})
    parts, ends, num_equal = ParityFolder.find(recording.folder), stop_ids(model.decoder), 0
    for number, entry in enumerate(parts.records):
        recorded = parts.of(number, entry)
        row = compare_record(model, entry, recorded)
        if row.num_matching == row.num_ids:  # a tie may lead elsewhere
            ids = recorded["generated_ids"].tolist()
            question = entry["conversations"][0]["value"].removeprefix("<protein_sequence>\n")
            expected = model.decoder.text_of(ids[:-1] if ids[-1] in ends else ids)
            assert model.ask(entry["amino_seq"], question, greedy).text == expected
            num_equal += 1
    assert num_equal > 0


def compare_second(recording: Recording, model: ProteinToText, **changed: Tensor) -> ProteinParity:
    """The recording's second record with some of what was recorded replaced."""
    parts = ParityFolder.find(recording.folder)
    return compare_record(model, parts.records[1], {**parts.of(1, parts.records[1]), **changed})


@pytest.mark.parametrize("stage", sorted(STAGES))
@pytest.mark.parametrize(("share", "passes"), [(0.7, True), (1.4, False)])
def test_a_stage_fails_beyond_its_limit_only(
    recording: Recording, model: ProteinToText, stage: str, share: float, passes: bool
) -> None:
    clean = load_file(recording.folder / "recorded.safetensors")[f"P1.{stage}"].float()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    row = compare_second(
        recording, model, **{stage: clean + share * STAGES[stage] * noise * clean.norm() / noise.norm()}
    )
    assert (row.errors[stage] <= STAGES[stage]) == passes
    assert row.passed == (passes and not row.differences)
    assert not compare_second(recording, model, **{stage: clean * torch.nan}).passed
    assert not compare_second(recording, model, **{stage: clean[:-1] if stage != "last_logits" else 2 * clean}).passed


@pytest.mark.parametrize("step", [0, 3])
def test_a_recorded_id_that_is_no_tie_fails(recording: Recording, model: ProteinToText, step: int) -> None:
    ids = load_file(recording.folder / "recorded.safetensors")["P1.generated_ids"]
    ids[step] = (ids[step] + 5) % 200 + 10
    row = compare_second(recording, model, generated_ids=ids)
    assert not row.passed
    assert row.differences[0].startswith(f"step {step}:")


def test_another_prompt_fails(recording: Recording, model: ProteinToText) -> None:
    ids = load_file(recording.folder / "recorded.safetensors")["P1.input_ids"]
    assert not compare_second(recording, model, input_ids=torch.cat([ids, ids[-1:]])).passed


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A small recording, to be damaged."""
    return record(tmp_path / "copy", Shape(encoder_layers=2, depth=1, lengths=(3, 9, 4), num_tokens=4)).folder


def test_weights_that_load_but_are_others_end_with_exit_code_1(damaged: Path) -> None:
    path = damaged / "zz-protein2text" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 90}))
    result = CliRunner().invoke(app, ["parity", str(damaged), "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["passed"]
    assert report["records"][0]["errors"]["projected"] < 2e-2 < report["records"][0]["errors"]["last_logits"]


def test_the_golden_recording_ends_with_exit_code_0(golden: Path) -> None:
    result = CliRunner().invoke(app, ["parity", str(golden / "reference-tiny")])
    assert result.exit_code == 0
    assert "parity holds" in result.stdout
    assert result.stdout.count("24/24") + result.stdout.count("tied") >= 8


def test_ids_are_judged_at_the_resolution_of_bfloat16() -> None:
    assert [spacing(value) for value in (1.0, 1.99, 2.0, -5.0, 0.25)] == [2**-7, 2**-7, 2**-6, 2**-5, 2**-9]
    theirs = torch.tensor([1.0, 4.0, 4.0, 0.0])
    ours = torch.tensor([[1.0, 4.0, 4.0, 0.0], [0.0, 2.0, 2.0156, 1.0], [0.0, 2.0, 2.1, 1.0]])
    assert judge_ids(ours, theirs, [1, 2, 2]) == (3, [], [])
    matching, ties, differences = judge_ids(ours, theirs, [2, 1, 1])
    assert (matching, len(ties), len(differences)) == (0, 2, 1)
    assert differences[0].startswith("step 2: ours 2, recorded 1, 0.1 apart")
    assert len(judge_ids(ours, theirs, [3, 2, 2])[2]) == 1  # not even the recording's own best
    assert len(judge_ids(ours, theirs, [9, 2, 2])[2]) == 1  # outside the vocabulary


def test_a_folder_that_is_not_whole_is_refused_by_name(damaged: Path) -> None:
    recorded = load_file(damaged / "recorded.safetensors")
    save_file({k: v for k, v in recorded.items() if k != "P2.latents"}, damaged / "recorded.safetensors")
    with pytest.raises(CorruptCheckpoint, match=r"P2\.latents is missing"):
        list(compare(damaged))
    shutil.copytree(damaged / "a", damaged / "b")
    with pytest.raises(CorruptCheckpoint, match="a/seven and b/seven"):
        list(compare(damaged))
    shutil.rmtree(damaged / "facebook")
    shutil.rmtree(damaged / "b")
    with pytest.raises(MissingFile, match="an ESM-2"):
        list(compare(damaged))
    (damaged / "input.json").unlink()
    result = CliRunner().invoke(app, ["parity", str(damaged)])
    assert result.exit_code == 2
