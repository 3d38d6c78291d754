"""The self-check says that latents matter where they do, and that they change nothing where they do not."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.errors import ConfigError
from protein2text.models.batches import pack
from protein2text.models.chat import encode_example, encode_text, question_messages
from protein2text.models.protein_to_text import ProteinToText
from protein2text.models.selfcheck import (
    GoldAnswer,
    SelfCheck,
    known_answers,
    log_likelihood,
    paired,
    selfcheck,
)
from tests.models.conftest import random_sequence

QUESTION = "What does it bind?"
ANSWERS = ("It binds zinc.", "It binds ATP.", "It binds iron.", "It binds heme.")


@pytest.fixture
def golds() -> list[GoldAnswer]:
    return [GoldAnswer(random_sequence(30 + n, n), QUESTION, answer) for n, answer in enumerate(ANSWERS)]


def learn(model: ProteinToText, golds: list[GoldAnswer], num_steps: int = 150) -> None:
    model.set_stage("alignment")
    optimizer = torch.optim.Adam(model.trainable().values(), lr=5e-3)
    examples = [
        encode_example(
            model.tokenizer, [*question_messages(gold.question, 1), {"role": "assistant", "content": gold.answer}]
        )
        for gold in golds
    ]
    batch = pack(examples, [[gold.sequence] for gold in golds], model.config.bridge)
    for _ in range(num_steps):
        optimizer.zero_grad()
        (model(batch) / batch.num_supervised).backward()
        optimizer.step()
    model.requires_grad_(False).eval()


def test_a_bridge_that_learned_its_proteins_passes(model: ProteinToText, golds: list[GoldAnswer]) -> None:
    learn(model, golds)
    result = selfcheck(model, golds)
    assert result.over_swapped.is_gain, result
    assert result.true > max(result.swapped, result.zeroed)
    assert result.verdict.startswith("the latents matter")


def test_a_bridge_that_says_nothing_is_told_apart(
    model: ProteinToText, golds: list[GoldAnswer], tmp_path: Path
) -> None:
    with torch.no_grad():
        for parameter in model.bridge.mm_projector[2].parameters():
            parameter.zero_()
    result = selfcheck(model, golds)
    assert result.true == result.swapped == result.zeroed
    assert "change nothing" in result.verdict
    model.save_pretrained(tmp_path / "model")
    run = CliRunner().invoke(app, ["selfcheck", str(tmp_path / "model"), "--json"])
    assert run.exit_code == 1
    assert "change nothing" in json.loads(run.stdout)["verdict"]


def test_latents_that_help_whatever_the_protein_are_no_pass() -> None:
    same, zero = paired(torch.tensor([0.5, -0.5, 0.4, -0.3])), paired(torch.tensor([2.0, 2.1, 1.9, 2.0]))
    assert "not surely likelier" in SelfCheck(4, -1.0, -1.0, -3.0, same, zero).verdict
    assert zero.is_gain
    assert (zero.low, zero.high) == pytest.approx((1.92, 2.08), abs=1e-2)


@torch.no_grad()
def test_the_likelihood_is_that_of_the_answers_tokens_one_by_one(model: ProteinToText, golds: list[GoldAnswer]) -> None:
    gold = golds[1]
    rows = model.latent_bank({gold.sequence})[gold.sequence]
    inputs = model.embed_prompt(model.encode_question(gold.question, 1), [rows])
    total, ids = 0.0, encode_text(model.tokenizer, gold.answer)
    for token in ids:
        logits = model.decoder.language_model(inputs_embeds=inputs[None]).logits[0, -1]
        total += float(logits.double().log_softmax(-1)[token])
        inputs = torch.cat([inputs, model.decoder.embed(torch.tensor([token]))])
    assert log_likelihood(model, gold, rows) == pytest.approx(total / len(ids), abs=1e-4)


def test_two_proteins_are_needed_to_swap_them(model: ProteinToText, golds: list[GoldAnswer]) -> None:
    with pytest.raises(ConfigError, match="at least 2 different proteins"):
        selfcheck(model, [golds[0], golds[0]])


def test_the_textbook_proteins_are_proteins() -> None:
    golds = known_answers()
    assert len({gold.sequence for gold in golds}) == 5
    assert [len(gold.sequence) for gold in golds] == [110, 76, 129, 141, 148]


def test_answers_are_read_from_the_published_layout(
    tmp_path: Path, model: ProteinToText, golds: list[GoldAnswer]
) -> None:
    learn(model, golds)
    model.save_pretrained(tmp_path / "model")
    records = [
        {
            "long_format_id": str(number), "id": str(number), "amino_seq": gold.sequence,
            "conversations": [
                {"from": "human", "value": f"<protein_sequence>\n{gold.question}"},
                {"from": "gpt", "value": gold.answer},
            ],
        }
        for number, gold in enumerate(golds)
    ]  # fmt: skip
    del records[0]["conversations"][1]  # type: ignore[union-attr]
    (tmp_path / "qa.json").write_text(json.dumps(records))
    run = CliRunner().invoke(app, ["selfcheck", str(tmp_path / "model"), str(tmp_path / "qa.json"), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["num_answers"] == 3
