"""A tiny random model in the product's own folder format, and one real Ray Serve that answers with it."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    EsmConfig,
    EsmForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from protein2text.models.model_config import BridgeConfig, DecoderConfig, EncoderConfig, LoraConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from tests.conftest import start_ray

MAX_RESIDUES = 64
WINDOW = 512

LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


WORDS = ["Ġprotein", "Ġbind", "Ġzinc", "Where", "ĠATP", "What", "helix"]
"""Each becomes one token, built letter by letter; ``Ġ`` is byte-level BPE's space."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose tokens are bytes and a few words, so that answers hold pieces of UTF-8 characters."""
    merges = [(word[:end], word[end]) for word in WORDS for end in range(1, len(word))]
    texts = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    raw = Tokenizer(models.BPE({text: number for number, text in enumerate(dict.fromkeys(texts))}, merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|end_of_text|>",
        chat_template=LLAMA3_TEMPLATE,
    )


def make_bases(folder: Path) -> tuple[Path, Path]:
    """Random ESM-2 and LLaMA folders of a few thousand weights each."""
    torch.manual_seed(0)
    encoder, decoder = folder / "encoder", folder / "decoder"
    encoder_model = EsmForMaskedLM(
        EsmConfig(
            vocab_size=33, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False, pad_token_id=1,
            mask_token_id=32, layer_norm_eps=1e-5, initializer_range=0.5,
        )
    )  # fmt: skip
    encoder_model.config.save_pretrained(
        encoder
    )  # save_pretrained of the model would rename LayerNorm.weight to .gamma
    tensors = {name: tensor.clone() for name, tensor in encoder_model.state_dict().items()}
    save_file(tensors, encoder / "model.safetensors")
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(decoder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, intermediate_size=64, max_position_embeddings=WINDOW, initializer_range=0.3,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    # A random decoder hardly ever ends by itself; with some common tokens as end tokens its answers differ in length.
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(20, 24)]
    model.generation_config.save_pretrained(decoder)
    write(model, decoder)
    return encoder, decoder


def write(model: PreTrainedModel, folder: Path) -> None:
    """As published folders are; the library's own save_pretrained renames ESM's norms, and loads DeepSpeed."""
    model.config.save_pretrained(folder)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with bridge and LoRA whose weights are random and large enough for proteins to change answers."""
    root = tmp_path_factory.mktemp("serve-model")
    encoder, decoder = make_bases(root)
    config = ModelConfig(
        encoder=EncoderConfig(source=str(encoder)),
        bridge=BridgeConfig(num_latents=4, depth=1, num_heads=2, head_dim=8),
        decoder=DecoderConfig(source=str(decoder), lora=LoraConfig(rank=2, alpha=4)),
    )
    model = ProteinToText(config)
    model.set_stage("instruction")
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            parameter.normal_(0, 0.3 if "lora_" in name else 1.0)
    model.save_pretrained(root / "model")
    return root / "model"


@pytest.fixture(scope="session")
def model(model_folder: Path) -> ProteinToText:
    """The same model in this process: the oracle."""
    return ProteinToText.from_pretrained(model_folder)


CLUSTER = ExitStack()
"""What stops the service: one start for this folder, gone before the next folder's tests start theirs."""


@pytest.fixture(scope="session")
def service(model_folder: Path) -> str:
    """Base URL of a real service on a free port, shared by all modules of this folder."""
    from protein2text_serve.run import start, stop

    start_ray()
    running = start(
        str(model_folder),
        port=0,
        model_name="tiny-random",
        max_residues=MAX_RESIDUES,
        max_tokens=256,
        max_replicas=1,
        max_in_flight=8,
    )
    CLUSTER.callback(stop, running)
    return running.url


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        CLUSTER.close()
