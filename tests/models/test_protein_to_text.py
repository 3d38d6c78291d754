"""The whole model: packing changes nothing, saving changes nothing, damage is seen."""

import json
import random
from pathlib import Path

import pytest
import torch

from protein2text.errors import CorruptCheckpoint, MissingFile, RecordError
from protein2text.models.batches import pack
from protein2text.models.chat import encode_example, encode_prompt, question_messages
from protein2text.models.checkpoints import verify_manifest
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from tests.models.conftest import random_sequence, tiny_config


def exchanges(model: ProteinToText) -> tuple[list[object], list[list[str]]]:
    """Four examples of unequal lengths, one with two proteins, one protein used twice."""
    first, second, third = (random_sequence(length, length) for length in (70, 21, 3))
    groups = [[first], [second, third], [first], [third]]
    answers = [
        "It binds ATP.",
        "No, the first: zinc, the second: iron.",
        "It is a kinase. It is found in the nucleus.",
        "Yes.",
    ]
    examples = []
    for group, answer in zip(groups, answers, strict=True):
        messages = [*question_messages("What does it bind?", len(group)), {"role": "assistant", "content": answer}]
        examples.append(encode_example(model.tokenizer, messages))
    return examples, groups  # type: ignore[return-value]


def test_stages_train_what_the_paper_trains(model: ProteinToText) -> None:
    model.set_stage("alignment")
    assert {name.split(".")[0] for name in model.trainable()} == {"bridge"}
    model.set_stage("instruction")
    names = model.trainable()
    assert {name.split(".")[0] for name in names} == {"bridge", "decoder"}
    adapted = {name.split(".lora_")[0].split(".")[-1] for name in names if name.startswith("decoder.")}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_what_trains_is_float32_beside_a_bfloat16_decoder() -> None:
    """A step of 1e-3 on a weight of 1 is lost in bfloat16, whose next number is 0.008 away."""
    config = tiny_config()
    decoder = config.decoder.model_copy(update={"dtype": "bfloat16"})
    model = ProteinToText(config.model_copy(update={"decoder": decoder}))
    model.set_stage("instruction")
    assert {parameter.dtype for parameter in model.trainable().values()} == {torch.float32}
    frozen = {name: parameter for name, parameter in model.decoder.named_parameters() if "lora_" not in name}
    assert {parameter.dtype for parameter in frozen.values()} == {torch.bfloat16}


def test_equal_sequences_in_a_batch_are_encoded_once(model: ProteinToText) -> None:
    examples, groups = exchanges(model)
    assert len(pack(examples, groups, model.config.bridge).proteins.lengths) == 3


def test_placeholders_and_proteins_must_agree(model: ProteinToText) -> None:
    examples, groups = exchanges(model)
    with pytest.raises(RecordError, match="2 placeholders; 1 proteins"):
        pack(examples, [groups[0], groups[0], *groups[2:]], model.config.bridge)
    with pytest.raises(RecordError, match="0 proteins; 1 placeholders"):
        model.generate([encode_prompt(model.tokenizer, question_messages("q", 1))], [[]])


def test_generation_is_greedy_search_over_the_full_forward(model: ProteinToText) -> None:
    """Each generated token is the argmax of a fresh forward over everything before it, without a cache."""
    sequence = random_sequence(40, 2)
    prompt = encode_prompt(model.tokenizer, question_messages("What does it bind?", 1))
    answer = model.generate([prompt], [[sequence]], Decoding(max_new_tokens=8))[0]
    embedded = model.embed_prompt(prompt, [model.latent_bank({sequence})[sequence]])
    language_model, ids = model.decoder.language_model, []
    for _ in range(8):
        with torch.no_grad():
            token = int(language_model(inputs_embeds=embedded[None]).logits[0, -1].argmax())
            embedded = torch.cat([embedded, language_model.get_input_embeddings()(torch.tensor([token]))])
        if token == model.tokenizer.eos_token_id:
            break
        ids.append(token)
    assert answer == model.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_answers_are_the_same_alone_and_in_a_batch(model: ProteinToText) -> None:
    proteins = [[random_sequence(length, length)] for length in (1, 150, 31, 64)]
    proteins.append([proteins[1][0], proteins[2][0]])
    prompts = [
        encode_prompt(model.tokenizer, question_messages("Describe " * n, len(group)))
        for n, group in enumerate(proteins, 1)
    ]
    together = model.generate(prompts, proteins, Decoding(max_new_tokens=12))
    alone = [
        model.generate([prompt], [group], Decoding(max_new_tokens=12))[0]
        for prompt, group in zip(prompts, proteins, strict=True)
    ]
    assert together == alone


def save(model: ProteinToText, folder: Path) -> ProteinToText:
    model.set_stage("instruction")
    for name, parameter in model.trainable().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder, {"stage": "instruction"})
    return model


def test_a_saved_model_loads_bit_for_bit(model: ProteinToText, tmp_path: Path) -> None:
    save(model, tmp_path / "model")
    loaded = ProteinToText.from_pretrained(tmp_path / "model")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    loaded.save_pretrained(tmp_path / "again", {"stage": "instruction"})
    assert verify_manifest(tmp_path / "again") == verify_manifest(tmp_path / "model")


def damage(folder: Path, rng: random.Random) -> str:
    """One random corruption: a bit flipped, a file cut, a file removed, or one added."""
    file = rng.choice(sorted(path for path in folder.iterdir()))
    kind = rng.choice(["flip", "cut", "remove", "add"])
    content = bytearray(file.read_bytes())
    if kind == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    elif kind == "cut":
        file.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "remove":
        file.unlink()
    else:
        (folder / "extra.safetensors").write_bytes(b"x")
    return f"{kind} {file.name}"


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_any_corruption_of_a_model_folder_is_found(model: ProteinToText, tmp_path: Path, count: int) -> None:
    import shutil

    save(model, tmp_path / "good")
    rng = random.Random(count)
    for number in range(count):
        folder = tmp_path / f"bad{number}"
        shutil.copytree(tmp_path / "good", folder)
        before = (folder / "manifest.json").read_bytes()
        what = damage(folder, rng)
        manifest = folder / "manifest.json"
        harmless = manifest.exists() and manifest.read_bytes() != before and _same_sums(before, manifest.read_bytes())
        if harmless:
            continue  # a flip in the manifest's white space or key order that changes no statement
        assert is_refused(folder), what
        shutil.rmtree(folder)


def is_refused(folder: Path) -> bool:
    try:
        verify_manifest(folder)
    except CorruptCheckpoint:
        return True
    return False


def _same_sums(before: bytes, after: bytes) -> bool:
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


def test_changed_base_weights_are_refused(model: ProteinToText, tmp_path: Path, random_esm: Path) -> None:
    import shutil

    bases = tmp_path / "esm"
    shutil.copytree(random_esm, bases)
    config = tiny_config().model_copy(
        update={"encoder": tiny_config().encoder.model_copy(update={"source": str(bases)})}
    )
    ProteinToText(config).save_pretrained(tmp_path / "model")
    ProteinToText.from_pretrained(tmp_path / "model")
    content = bytearray((bases / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (bases / "model.safetensors").write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=r"encoder/model\.safetensors"):
        ProteinToText.from_pretrained(tmp_path / "model")


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere"):
        ProteinToText.from_pretrained(tmp_path / "nowhere")
