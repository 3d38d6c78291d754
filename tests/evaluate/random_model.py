"""A model of random weights in the product's folder format: small, quick to make, and it answers nonsense."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import EsmForMaskedLM, LlamaForCausalLM, PreTrainedTokenizerFast

from protein2text.models.model_config import ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.base_decoder import CHAT_TEMPLATE, SPECIAL_TOKENS, decoder_config
from protein2text.train.base_encoder import encoder_config


def write_random_bases(folder: Path) -> dict[str, Any]:
    """Random ESM-2 and LLaMA folders; returns the model section of a run configuration."""
    torch.manual_seed(0)
    encoder, decoder = folder / "encoder", folder / "decoder"
    encoder.mkdir(parents=True)
    esm = EsmForMaskedLM(encoder_config(hidden_size=16, num_layers=2, num_heads=2))
    esm.config.save_pretrained(encoder)
    save_file({name: tensor.clone() for name, tensor in esm.state_dict().items()}, encoder / "model.safetensors")
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(decoder)
    LlamaForCausalLM(decoder_config(tokenizer, hidden_size=32, num_layers=2, num_heads=2)).save_pretrained(decoder)
    return {
        "encoder": {"source": str(encoder)},
        "bridge": {"num_latents": 4, "depth": 1, "num_heads": 2, "head_dim": 8},
        "decoder": {"source": str(decoder), "lora": {"rank": 2, "alpha": 4}},
    }


def write_random_model(folder: Path, config: ModelConfig, *, seed: int = 0) -> Path:
    """A native model folder with bridge and LoRA."""
    torch.manual_seed(seed)
    model = ProteinToText(config)
    model.set_stage("instruction")
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["What does this protein bind? It binds zinc and ATP."] * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        chat_template=CHAT_TEMPLATE,
    )
