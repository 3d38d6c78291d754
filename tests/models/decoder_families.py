"""Tiny decoders with random weights in the form of three families: configuration, tokenizer and chat template."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

# Llama 3.1: control tokens around roles, a system prompt of its own with today's date, messages trimmed.
LLAMA_TEMPLATE = (
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + strftime_now('%d %b %Y') + '\\n\\n' }}"
    "{{- system + '<|eot_id|>' }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim }}"
    "{{- '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
# Qwen3: ChatML, no begin token, thinking unless told otherwise; its thinking and tool tokens are added, not special.
QWEN_TEMPLATE = (
    "{%- for message in messages %}{%- set content = message.content %}{%- if message.role == 'assistant' %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}"
    "{%- if loop.last %}{%- set content = '<think>\\n\\n</think>\\n\\n' + content %}{%- endif %}{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{%- endif %}"
)
# Mistral: the system message moves into the last user's turn, answers begin with a blank, roles must take turns.
MISTRAL_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] + '\\n\\n' %}"
    "{%- set turns = messages[1:] %}{%- else %}{%- set system = '' %}{%- set turns = messages %}{%- endif %}"
    "{{- bos_token }}{%- for message in turns %}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('roles must alternate user/assistant') }}{%- endif %}{%- if message['role'] == 'user' %}"
    "{{- '[INST] ' + (system if loop.last else '') + message['content'] + '[/INST]' }}"
    "{%- else %}{{- ' ' + message['content'] | trim + eos_token }}{%- endif %}{%- endfor %}"
)
# Gemma's manner: no system role at all.
STRICT_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}"
) + LLAMA_TEMPLATE
# A template that shows user turns only.
DEAF_TEMPLATE = "{% for message in messages if message.role == 'user' %}[INST]{{ message.content }}[/INST]{% endfor %}"

SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "initializer_range": 0.3,
}  # fmt: skip
FAMILIES = ["llama", "qwen3", "mistral"]


def write_family(name: str, folder: Path) -> Path:
    """A folder as published ones are: configuration, weights, tokenizer, generation settings."""
    tokenizer = make_tokenizer(name)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(4)
    model: Any
    if name == "llama":  # grouped queries, and positions beyond those that its rotary scaling stretches
        scaling = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0}
        scaling |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}
        shape = SHAPE | {"num_key_value_heads": 2, "rope_parameters": scaling}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + 3, **shape, **ids))
    elif name == "qwen3":  # heads wider than their share, tied embeddings
        shape = SHAPE | {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}
        model = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **shape, **ids))
    else:  # each token sees seven
        shape = SHAPE | {"num_key_value_heads": 1, "sliding_window": 7}
        model = MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), **shape, **ids))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("e")]
    model.generation_config = GenerationConfig(eos_token_id=stops, bos_token_id=tokenizer.bos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(name: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the family's control tokens and chat template."""
    controls, steering, ends, own_template = {
        "llama": (
            ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], [],
            {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, LLAMA_TEMPLATE,
        ),
        "qwen3": (
            ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<think>", "</think>", "<tool_call>", "</tool_call>"],
            {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}, QWEN_TEMPLATE,
        ),
        "mistral": (
            ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], [],
            {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, MISTRAL_TEMPLATE,
        ),
    }[name]  # fmt: skip
    raw = RawTokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    raw.train_from_iterator(["What does this protein bind? It binds zinc and ATP in the nucleus."] * 4, trainer)
    raw.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in controls])
    raw.add_tokens([AddedToken(token, normalized=False) for token in steering])
    return PreTrainedTokenizerFast(tokenizer_object=raw, chat_template=template or own_template, **ends)
