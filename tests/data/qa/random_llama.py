"""A language model that needs no download and says nothing sensible."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.data.qa.test_prompt import TINY


def write_random_llama(folder: Path) -> Path:
    """Random weights, a context for the longest text that the schema allows, and logits wider than the vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(TINY, local_files_only=True)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 13, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=12_000,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
