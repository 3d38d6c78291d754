"""Every kind of bridge inside the whole model: packed as unpacked, in training and in answers, and what it may read."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protein2text.models.batches import pack, pack_proteins
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example, encode_example, encode_prompt, question_messages
from protein2text.models.generation import Decoding
from protein2text.models.model_config import BridgeConfig
from protein2text.models.protein_to_text import ProteinToText, Stage
from tests.models.conftest import random_sequence, relative_error, tiny_config

KINDS = ["resampler", "projector", "gated_cross_attention"]
SEQUENCES = [random_sequence(length, length) for length in (70, 21, 3)]
GROUPS = [[SEQUENCES[0]], [SEQUENCES[1], SEQUENCES[2]], [SEQUENCES[0]], [SEQUENCES[2]]]
QUESTIONS = ["What does it bind?", "Are both of them kinases, and which is longer?", "Where is it found?", "x"]
ANSWERS = ["ATP.", "No, the first binds zinc, the second iron.", "It is found in the nucleus.", "Yes."]


def build(kind: str) -> ProteinToText:
    torch.manual_seed(1)
    return ProteinToText(tiny_config(kind=kind))


def randomized(model: ProteinToText, stage: Stage = "instruction") -> ProteinToText:
    """Adapters and gates away from the zero that they start at."""
    model.set_stage(stage)
    for name, parameter in model.trainable().items():
        if "lora_B" in name or name.endswith("_gate"):
            nn.init.normal_(parameter, std=0.5 if name.endswith("_gate") else 0.1)
    return model


def examples_of(model: ProteinToText) -> list[Example]:
    turns = zip(QUESTIONS, GROUPS, ANSWERS, strict=True)
    return [
        encode_example(
            model.tokenizer, [*question_messages(question, len(group)), {"role": "assistant", "content": answer}]
        )
        for question, group, answer in turns
    ]


def prompt_of(example: Example) -> list[int]:
    """Ids before the first supervised one."""
    return example.ids[: [label != IGNORED for label in example.labels].index(True)]


def plain_gated(state: dict[str, Tensor], config: BridgeConfig, rows_PD: Tensor, question_QD: Tensor) -> Tensor:
    """Flamingo's gated block from its formulas, one head at a time, on one example."""
    get = lambda name: state[f"mm_gated_cross_attention.{name}"]  # noqa: E731
    norm = lambda x, name: F.layer_norm(x, x.shape[-1:], get(f"{name}.weight"), get(f"{name}.bias"))  # noqa: E731
    queries = norm(rows_PD, "attn.norm") @ get("attn.to_q.weight").T
    keys, values = (question_QD @ get("attn.to_kv.weight").T).chunk(2, dim=-1)
    heads = []
    for head in range(config.num_heads):
        part = slice(head * config.head_dim, (head + 1) * config.head_dim)
        scores = queries[:, part] @ keys[:, part].T / config.head_dim**0.5
        heads.append(torch.softmax(scores, dim=-1) @ values[:, part])
    rows = rows_PD + torch.tanh(get("attn_gate")) * (torch.cat(heads, dim=-1) @ get("attn.to_out.weight").T)
    hidden = norm(rows, "ff.0") @ get("ff.1.weight").T
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return rows + torch.tanh(get("ff_gate")) * (hidden @ get("ff.3.weight").T)


def unpacked_loss(model: ProteinToText, example: Example, group: list[str]) -> Tensor:
    """One example alone: its rows by hand, and the library's own causal forward over all positions."""
    config, state = model.config.bridge, model.bridge.state_dict(keep_vars=True)
    embed = model.decoder.language_model.get_input_embeddings()
    rows = [model.protein_rows(pack_proteins([sequence])) for sequence in group]
    if config.kind == "gated_cross_attention":
        question = embed(torch.tensor([token for token in prompt_of(example) if token != PROTEIN_ID]))
        rows = [plain_gated(state, config, row, question) for row in rows]
    pieces, labels, following = [], [], iter(rows)
    for token, label in zip(example.ids, example.labels, strict=True):
        piece = next(following) if token == PROTEIN_ID else embed(torch.tensor([token]))
        pieces.append(piece)
        labels += [label] if token != PROTEIN_ID else [IGNORED] * len(piece)
    logits = model.decoder.language_model(inputs_embeds=torch.cat(pieces)[None]).logits[0]
    return F.cross_entropy(logits[:-1], torch.tensor(labels[1:]), ignore_index=IGNORED, reduction="sum")


@pytest.mark.parametrize("stage", ["alignment", "instruction"])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_loss_and_gradients_equal_unpacked_ones_in_float64(kind: str, stage: Stage) -> None:
    model = randomized(build(kind), stage).double()
    examples = examples_of(model)
    batch = pack(examples, GROUPS, model.config.bridge)
    packed = F.cross_entropy(model.logits(batch), batch.text.labels_M, reduction="sum")
    packed.backward()
    gradients = {name: parameter.grad for name, parameter in model.trainable().items()}
    model.zero_grad()
    parts = [unpacked_loss(model, example, group) for example, group in zip(examples, GROUPS, strict=True)]
    unpacked = torch.stack(parts).sum()
    unpacked.backward()
    assert abs(packed.item() - unpacked.item()) <= 1e-10 * unpacked.item()
    assert abs(model(batch).item() - unpacked.item()) <= 1e-5 * unpacked.item()
    for name, parameter in model.trainable().items():
        gradient = gradients[name]
        assert gradient is not None, name
        assert parameter.grad is not None, name
        assert relative_error(gradient, parameter.grad) < 1e-10, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_protein_takes_the_rows_that_its_configuration_states(kind: str) -> None:
    model = build(kind)
    expected = {s: (len(s) + 1 if kind == "projector" else 5, model.decoder.width) for s in SEQUENCES}
    with torch.no_grad():
        bank = model.latent_bank(set(SEQUENCES))
    assert {sequence: tuple(rows.shape) for sequence, rows in bank.items()} == expected
    for example, group in zip(examples_of(model), GROUPS, strict=True):
        positions = model.config.bridge.num_positions(len(example.ids), group)
        assert pack([example], [group], model.config.bridge).num_tokens == positions
        assert positions == len(example.ids) + sum(expected[sequence][0] - 1 for sequence in group)


def placed_rows(model: ProteinToText, examples: list[Example], groups: list[list[str]]) -> list[Tensor]:
    """What the decoder gets for the proteins of each example."""
    batch = pack(examples, groups, model.config.bridge)
    inputs = model.splice(model.protein_rows(batch.proteins), batch.text)
    return list(torch.split(inputs[batch.text.protein_rows_P], list(batch.text.protein_lengths)))


def test_gated_rows_depend_on_the_question_and_never_on_the_answer_or_on_another_example() -> None:
    model = randomized(build("gated_cross_attention")).double()
    examples = examples_of(model)
    prompt = prompt_of(examples[0])
    rows = placed_rows(model, examples, GROUPS)
    for answer in ([5], [7] * 40):
        other = Example(prompt + answer, [IGNORED] * len(prompt) + answer)
        assert torch.equal(placed_rows(model, [other, *examples[1:]], GROUPS)[0], rows[0])
    assert relative_error(placed_rows(model, examples[:1], GROUPS[:1])[0], rows[0]) < 1e-12
    asked = Example([*prompt[:-1], 11, prompt[-1]], [IGNORED] * (len(prompt) + 1))
    assert relative_error(placed_rows(model, [asked], GROUPS[:1])[0], rows[0]) > 1e-3


def test_no_gradient_reaches_answer_tokens_through_the_gated_bridge() -> None:
    model = randomized(build("gated_cross_attention")).double()
    batch = pack(examples_of(model), GROUPS, model.config.bridge)
    embeddings = model.decoder.embed(batch.text.ids_T).detach().requires_grad_()
    rows_LD = model.protein_rows(batch.proteins).detach()
    read = model.bridge.read_question(rows_LD[batch.text.protein_sources_P], embeddings, batch.text)
    (gradient,) = torch.autograd.grad(read.square().sum(), embeddings)
    reached = set(torch.nonzero(gradient.abs().sum(-1)).flatten().tolist())
    assert reached == set(batch.text.question_rows.tolist())
    supervised = {row + 1 for row in batch.text.supervised_rows_M.tolist()}
    everything = set(range(batch.num_tokens))
    assert reached == everything - supervised - set(batch.text.protein_rows_P.tolist())


def test_a_fresh_gated_bridge_answers_as_its_resampler_does() -> None:
    gated, plain = build("gated_cross_attention"), build("resampler")
    batch = pack(examples_of(plain), GROUPS, plain.config.bridge)
    assert torch.equal(gated.logits(batch), plain.logits(batch))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_greedy_under_the_training_forward_alone_and_in_a_batch(kind: str) -> None:
    """Generation and training share what they put before the decoder, or its choice would not be the argmax here."""
    model = randomized(build(kind)).requires_grad_(False)
    prompts = [
        encode_prompt(model.tokenizer, question_messages(question, len(group)))
        for question, group in zip(QUESTIONS, GROUPS, strict=True)
    ]
    settings = Decoding(max_new_tokens=6)
    together = model.generate(prompts, GROUPS, settings)
    unaccompanied = encode_prompt(model.tokenizer, question_messages("No protein?", 0))
    assert model.generate([*prompts, unaccompanied], [*GROUPS, []], settings)[:-1] == together
    for prompt, group, answer in zip(prompts, GROUPS, together, strict=True):
        assert model.generate([prompt], [group], settings) == [answer]
        ids: list[int] = []
        for _ in range(settings.max_new_tokens):
            asked = Example([*prompt, *ids, 0], [IGNORED] * len(prompt) + [0] * (len(ids) + 1))
            token = int(model.logits(pack([asked], [group], model.config.bridge))[-1].argmax())
            if token == model.tokenizer.eos_token_id:
                break
            ids.append(token)
        assert answer == model.tokenizer.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_bridge_loads_bit_for_bit_by_its_published_names(kind: str, tmp_path: Path) -> None:
    model = randomized(build(kind))
    model.save_pretrained(tmp_path / "model")
    loaded = ProteinToText.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    state = model.bridge_state()
    prefixes = {"mm_projector"} if kind == "projector" else {"mm_projector", "mm_resampler"}
    prefixes |= {"mm_gated_cross_attention"} if kind == "gated_cross_attention" else set()
    assert {name.split(".")[0] for name in state} == prefixes
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_of_each_stage_lower_the_loss(kind: str) -> None:
    model: Any = build(kind)
    batch = pack(examples_of(model), GROUPS, model.config.bridge)
    for stage in ("alignment", "instruction"):
        model.set_stage(stage)
        optimizer = torch.optim.AdamW(model.trainable().values(), lr=3e-3)
        losses = []
        for _ in range(6):
            loss = model(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 1
