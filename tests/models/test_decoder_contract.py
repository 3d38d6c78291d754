"""What any causal language model with a chat template must do as our decoder, on three families.

The oracles are transformers itself: its tokenization of the rendered template, and its own forward on one example
at a time, without our packing, splicing or adapters.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from protein2text.errors import ConfigError, RecordError
from protein2text.generate.engine import Prompt
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.batches import pack, pack_text
from protein2text.models.chat import (
    IGNORED,
    PLACEHOLDER,
    PROTEIN_ID,
    Example,
    Tokenizer,
    encode_example,
    encode_prompt,
    encode_text,
    question_messages,
)
from protein2text.models.decoder import Decoder
from protein2text.models.generation import Decoding, stop_ids
from protein2text.models.model_config import DecoderConfig, LoraConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from protein2text.models.tokenizer import load_tokenizer
from tests.models.conftest import random_sequence, relative_error, tiny_config
from tests.models.decoder_families import DEAF_TEMPLATE, FAMILIES, SHAPE, STRICT_TEMPLATE, make_tokenizer, write_family

TURN_END = {"llama": "<|eot_id|>", "qwen3": "<|im_end|>", "mistral": "</s>"}
ASSISTANT = {
    "llama": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "qwen3": "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "mistral": "[/INST]",
}
CONVERSATIONS = [
    question_messages("What does it bind?", 1),
    question_messages("  Are both of them kinases?\n", 2),
    question_messages("No protein at all, naïve 🧬", 0),
    [{"role": "user", "content": f"First {PLACEHOLDER}, then{PLACEHOLDER}{PLACEHOLDER} and nothing."}],
    [*question_messages("What?", 1), {"role": "assistant", "content": " Zinc. "}, *question_messages("Where?", 0)],
    [{"role": "system", "content": "Be brief."}, *question_messages("What does it bind?", 1)],
    [
        {"role": "system", "content": "Be brief."},
        *question_messages("What?", 1),
        {"role": "assistant", "content": "Zinc."},
        *question_messages("Where?", 0),
    ],
]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(family, tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def model_config(folder: Path, **lora: Any) -> ModelConfig:
    adapters = LoraConfig.parse({"rank": 3, "alpha": 5, "dropout": 0.0} | lora)
    return tiny_config().model_copy(update={"decoder": DecoderConfig(source=str(folder), lora=adapters)})


@pytest.fixture
def model(folder: Path) -> ProteinToText:
    """With adapters away from the zero that they start at."""
    torch.manual_seed(2)
    model = ProteinToText(model_config(folder))
    model.set_stage("instruction")
    for name, parameter in model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def by_transformers(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> list[int]:
    """The library's own ids of the rendered chat, the placeholder being one token more to it."""
    marked = copy.deepcopy(tokenizer)
    marked.add_special_tokens({"additional_special_tokens": [PLACEHOLDER]})
    marked.chat_template = marked.chat_template.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    rendered = marked.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, enable_thinking=False)
    marker = marked.convert_tokens_to_ids(PLACEHOLDER)
    return [PROTEIN_ID if token == marker else token for token in rendered["input_ids"]]


@pytest.mark.parametrize("number", range(len(CONVERSATIONS)))
def test_a_prompt_is_what_transformers_makes_of_the_chat_template(tokenizer: Tokenizer, number: int) -> None:
    messages = CONVERSATIONS[number]
    ids = encode_prompt(tokenizer, messages)
    assert ids == by_transformers(tokenizer, messages)
    assert ids.count(PROTEIN_ID) == sum(message["content"].count(PLACEHOLDER) for message in messages)


def test_the_protein_stands_inside_the_users_turn(family: str, tokenizer: Tokenizer) -> None:
    ids = encode_prompt(tokenizer, question_messages("What does it bind?", 2))
    text = "".join("@" if token == PROTEIN_ID else tokenizer.decode([token]) for token in ids)
    assert text.endswith("@\n@\nWhat does it bind?" + ASSISTANT[family])
    assert text.count("@") == 2


def control_ids(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    return [token for token in ids if token in tokenizer.added_tokens_decoder]


def test_no_text_of_a_message_becomes_a_control_token(tokenizer: Tokenizer) -> None:
    names = [token.content for token in tokenizer.added_tokens_decoder.values()]
    attacks = [*names, "".join(names), *(f"{name[:3]}{name}{name[3:]}" for name in names), "\n".join(names * 2)]
    expected = control_ids(tokenizer, encode_prompt(tokenizer, question_messages("x", 1)))
    for attack in attacks:
        for text in (attack, f"a{attack}", f" {attack} b"):
            assert control_ids(tokenizer, encode_text(tokenizer, text)) == []
            assert tokenizer.decode(encode_text(tokenizer, text), clean_up_tokenization_spaces=False) == text
            prompt = encode_prompt(tokenizer, question_messages(text, 1))
            assert control_ids(tokenizer, prompt) == expected
            example = encode_example(tokenizer, [*question_messages("x", 1), {"role": "assistant", "content": text}])
            assert control_ids(tokenizer, example.ids) == [*expected, example.ids[-1]]


@pytest.mark.parametrize(
    "text",
    [
        PLACEHOLDER,
        f"<protein_{PLACEHOLDER}sequence>",
        f"<prot{PLACEHOLDER[:5]}{PLACEHOLDER}{PLACEHOLDER[5:]}ein_sequence>",
        "\ue0000\ue001\u2003",
    ],
)
def test_a_question_cannot_forge_a_protein_or_a_mark(tokenizer: Tokenizer, text: str) -> None:
    ids = encode_prompt(tokenizer, question_messages(f"and {text}?", 2))
    assert ids.count(PROTEIN_ID) == 2
    assert len(control_ids(tokenizer, ids)) == len(control_ids(tokenizer, encode_prompt(tokenizer, CONVERSATIONS[1])))


def test_an_answer_ends_with_the_templates_own_end_of_turn(family: str, tokenizer: Tokenizer) -> None:
    messages = [*question_messages("What?", 1), {"role": "assistant", "content": "Zinc."}]
    example = encode_example(tokenizer, messages)
    whole = by_transformers(tokenizer, [*messages, {"role": "user", "content": "y"}])
    supervised = [token for token, label in zip(example.ids, example.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(supervised).strip() == "Zinc." + TURN_END[family]
    if family == "mistral":  # only this template words a past answer as it was prompted for
        assert whole[: len(example.ids)] == example.ids


def test_the_end_of_a_turn_need_not_be_the_end_of_a_text() -> None:
    """Gemma and Phi end a turn with one token and a text with another."""
    tokenizer = make_tokenizer("qwen3")
    tokenizer.eos_token = "<|endoftext|>"
    example = encode_example(tokenizer, [*question_messages("q", 1), {"role": "assistant", "content": "a"}])
    assert tokenizer.decode(example.ids[-1:]) == "<|im_end|>"


def test_a_template_that_refuses_or_drops_a_message_says_so() -> None:
    system = CONVERSATIONS[5]
    strict = make_tokenizer("llama", STRICT_TEMPLATE)
    assert encode_prompt(strict, system[1:]) == by_transformers(strict, system[1:])
    with pytest.raises(RecordError, match=r"roles system, user; the chat template says: System role not supported"):
        encode_prompt(strict, system)
    with pytest.raises(RecordError, match=r"shows of them only \[1\]"):
        encode_prompt(make_tokenizer("mistral", DEAF_TEMPLATE), system)
    with pytest.raises(RecordError, match="roles must alternate"):
        encode_prompt(make_tokenizer("mistral"), [*CONVERSATIONS[0], *CONVERSATIONS[2]])


def test_a_prompt_does_not_depend_on_the_day() -> None:
    tokenizer = make_tokenizer("llama")
    assert "Today Date: 26 Jul 2024" in tokenizer.decode(encode_prompt(tokenizer, CONVERSATIONS[2]))


def transformers_with_merged_adapters(decoder: Decoder, folder: Path) -> Any:
    """transformers' own model in float64, one example at a time; each adapted weight is W + alpha / rank B A."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa")
    lora, settings = decoder.lora_state(), decoder.config.lora
    merged = 0
    for name, weight in plain.named_parameters():
        key = name.removesuffix(".weight")
        if f"{key}.lora_A.weight" in lora:
            product = lora[f"{key}.lora_B.weight"].double() @ lora[f"{key}.lora_A.weight"].double()
            weight.data += settings.alpha / settings.rank * product
            merged += 1
    assert merged == len(lora) // 2 == 14, "seven adapted layers in each of two"
    return plain.requires_grad_(False)


LENGTHS = [(40, 6), (3, 11), (17, 1), (70, 20)]
"""Prompt and answer tokens of the examples that are packed: below, above and far above Mistral's window."""


def random_examples(vocabulary: int) -> list[Example]:
    """The first and the last have two proteins, the third none."""
    generator = torch.Generator().manual_seed(6)
    examples = []
    for number, (asked, answered) in enumerate(LENGTHS):
        ids = torch.randint(vocabulary, (asked + answered,), generator=generator).tolist()
        for place in [(2, 5), (1,), (), (0, 60)][number]:
            ids[place] = PROTEIN_ID
        examples.append(Example(ids, [IGNORED] * asked + ids[asked:]))
    return examples


def test_packed_logits_and_gradients_are_those_of_each_example_alone(model: ProteinToText, folder: Path) -> None:
    decoder = model.decoder.double()
    plain = transformers_with_merged_adapters(decoder, folder)
    examples = random_examples(len(model.tokenizer))
    numbers, num_rows = [[0, 1], [2], [], [1, 2]], [5, 9, 2]
    text = pack_text(examples, numbers, num_rows)
    generator = torch.Generator().manual_seed(7)
    rows_LD = torch.randn(16, decoder.width, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(len(text.labels_M), decoder.language_model.config.vocab_size, generator=generator).double()
    packed = decoder.logits(model.splice(rows_LD, text), text)
    (packed * weights).sum().backward()
    assert rows_LD.grad is not None
    gradient = rows_LD.grad.clone()
    adapters = {name: parameter.grad for name, parameter in decoder.named_parameters() if "lora_" in name}

    alone_LD = rows_LD.detach().clone().requires_grad_()
    proteins = list(torch.split(alone_LD, num_rows))
    alone = torch.cat([
        logits_alone(plain, example, [proteins[number] for number in group])
        for example, group in zip(examples, numbers, strict=True)
    ])  # fmt: skip
    (alone * weights).sum().backward()
    assert alone_LD.grad is not None
    assert relative_error(packed, alone) < 1e-12
    assert relative_error(gradient, alone_LD.grad) < 1e-11
    assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in adapters.values())


def logits_alone(plain: Any, example: Example, proteins: list[Tensor]) -> Tensor:
    """Logits before each supervised token of one example."""
    embed, following = plain.get_input_embeddings(), iter(proteins)
    pieces = [next(following) if token == PROTEIN_ID else embed(torch.tensor([token])) for token in example.ids]
    labels = [
        label
        for piece, label in zip(pieces, example.labels, strict=True)
        for label in ([label] if len(piece) == 1 else [IGNORED] * len(piece))
    ]
    before = [row - 1 for row, label in enumerate(labels) if label != IGNORED]
    logits: Tensor = plain(inputs_embeds=torch.cat(pieces)[None]).logits[0, before]
    return logits


def test_fresh_adapters_change_nothing_to_the_last_bit(folder: Path) -> None:
    model = ProteinToText(model_config(folder))
    sequences = [[random_sequence(30, 1)]]
    example = encode_example(model.tokenizer, [*CONVERSATIONS[0], {"role": "assistant", "content": "It binds zinc."}])
    batch = pack([example], sequences, model.config.bridge)
    before = model.logits(batch)
    model.decoder.add_lora()
    assert torch.equal(model.logits(batch), before)


def test_an_adapter_that_the_decoder_has_no_layer_for_is_named(folder: Path) -> None:
    model = ProteinToText(model_config(folder, target_modules=["q_proj", "query_key_value"]))
    with pytest.raises(ConfigError, match="'query_key_value' is no linear layer of this decoder; it has down_proj"):
        model.set_stage("instruction")


PROTEINS = [[random_sequence(30, 1)], [random_sequence(4, 2), random_sequence(90, 3)], [random_sequence(61, 4)], []]
QUESTIONS = ["What does it bind?", "Which of the two is a kinase? " * 3, "x", "No protein here."]


def test_answers_alone_in_a_batch_and_from_the_engine_are_greedy_search_by_transformers(
    model: ProteinToText, folder: Path
) -> None:
    model.requires_grad_(False).eval()
    plain = transformers_with_merged_adapters(model.decoder, folder).float()
    settings = Decoding(max_new_tokens=14)
    asked = zip(QUESTIONS, PROTEINS, strict=True)
    prompts = [encode_prompt(model.tokenizer, question_messages(question, len(group))) for question, group in asked]
    bank = model.latent_bank({sequence for group in PROTEINS for sequence in group})
    expected = [
        greedy(model, plain, prompt, [bank[sequence] for sequence in group])
        for prompt, group in zip(prompts, PROTEINS, strict=True)
    ]
    assert model.generate(prompts, PROTEINS, settings) == expected
    assert [
        model.generate([prompt], [group], settings)[0] for prompt, group in zip(prompts, PROTEINS, strict=True)
    ] == expected
    requests = [
        Prompt(str(number), prompt, [bank[sequence] for sequence in group], settings)
        for number, (prompt, group) in enumerate(zip(prompts, PROTEINS, strict=True))
    ]
    answers: list[list[int]] = [[] for _ in requests]
    for step in TransformersEngine(model).generate(requests):
        for answer, token in zip(answers, step, strict=True):
            answer += [token.id] if token is not None and token.finish != "stop" else []
    assert [model.tokenizer.decode(answer, skip_special_tokens=True).strip() for answer in answers] == expected


@torch.no_grad()
def greedy(model: ProteinToText, plain: Any, prompt: list[int], proteins: list[Tensor]) -> str:
    """The most likely token after everything before it, again and again, without a cache."""
    embed, following = plain.get_input_embeddings(), iter(proteins)
    inputs = torch.cat([next(following) if token == PROTEIN_ID else embed(torch.tensor([token])) for token in prompt])
    stops = set(plain.generation_config.eos_token_id)
    ids: list[int] = []
    for _ in range(14):
        token = int(plain(inputs_embeds=inputs[None]).logits[0, -1].argmax())
        if token in stops:
            break
        ids.append(token)
        inputs = torch.cat([inputs, embed(torch.tensor([token]))])
    return str(model.tokenizer.decode(ids, skip_special_tokens=True).strip())


def test_stop_ids_are_the_bases_settings_and_both_ends(model: ProteinToText) -> None:
    tokenizer = model.tokenizer
    assert set(stop_ids(model.decoder)) == {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("e")}
    model.decoder.language_model.generation_config.eos_token_id = None
    assert stop_ids(model.decoder) == [tokenizer.eos_token_id]


def test_the_order_of_two_proteins_matters(model: ProteinToText) -> None:
    prompt = encode_prompt(model.tokenizer, question_messages("Which?", 2))
    bank = model.latent_bank(set(PROTEINS[1]))
    one, other = ([bank[sequence] for sequence in group] for group in (PROTEINS[1], PROTEINS[1][::-1]))
    assert not torch.equal(model.embed_prompt(prompt, one), model.embed_prompt(prompt, other))


def test_a_decoder_whose_attention_packed_rows_do_not_have_is_refused(tmp_path: Path) -> None:
    """Gemma 2 caps its attention scores; leaving that out would be another model."""
    tokenizer = make_tokenizer("llama")
    config = Gemma2Config(**SHAPE | {"num_key_value_heads": 2, "head_dim": 8}, vocab_size=len(tokenizer))
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    decoder = Decoder(DecoderConfig(source=str(tmp_path)))
    text = pack_text([Example([1, 2, 3], [IGNORED, 2, 3])], [[]], [])
    with pytest.raises(ConfigError, match="packed attention has no softcap"):
        decoder.logits(decoder.embed(text.ids_T), text)


def test_a_saved_model_loads_and_answers_bit_for_bit(family: str, model: ProteinToText, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    loaded = ProteinToText.from_pretrained(tmp_path / "model")
    state = model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    language_model = loaded.decoder.language_model
    tied = language_model.get_output_embeddings().weight is language_model.get_input_embeddings().weight
    assert tied == (family == "qwen3")
    example = encode_example(model.tokenizer, [*CONVERSATIONS[1], {"role": "assistant", "content": "The first."}])
    batch = pack([example], [PROTEINS[1]], model.config.bridge)
    assert torch.equal(loaded.logits(batch), model.eval().logits(batch))
