"""Pretrain the tiny preset's decoder: a small LLaMA that answers from notes in its context.

Real users start from an instruct model. The tiny preset starts from this one, which has learned to read facts standing
where the protein will stand: in random order, random combination and several forms. It never sees a sequence, and
because the facts are drawn at random it cannot answer without reading them.
"""

import logging
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from protein2text.data.sample_families import CATALYTIC, CONTEXT
from protein2text.data.sample_texts import VALUES, Question, describe, open_question, pair_question, yes_no_question
from protein2text.models.chat import DESCRIPTION_REQUESTS
from protein2text.train.schedule import learning_rate as scheduled

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|finetune_right_pad_id|>",
]  # fmt: skip
"""The control tokens of Llama 3.1's format (Llama 3.1 model card)."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama 3's pre-tokenization: words with their leading blank, numbers by threes, punctuation."""

MAX_NOISE, MAX_BLUR = 1.0, 0.6
"""Largest noise, in standard deviations of the embeddings, and largest share of the neighbor mixed into each note.
Latents will be no exact words, so the decoder learns to read inexact ones (after NEFTune, arXiv:2310.05914)."""

Row = tuple[str, str, str]
"""Notes, question, answer."""


def random_facts(rng: random.Random) -> dict[str, str]:
    """Facts of an imaginary protein of one or two domains; families never seen together in the corpus occur too."""
    sorts = rng.choice(((CATALYTIC,), (CONTEXT,), (CATALYTIC, CONTEXT), (CATALYTIC, CONTEXT), (CATALYTIC, CONTEXT)))
    kinds = [kind for sort in sorts for kind in sort[0].facts]
    return {kind: rng.choice(VALUES[kind]) for kind in kinds}


def notes(facts: dict[str, str], rng: random.Random) -> str:
    """The facts as terse notes: bare values in random order, some repeated, some in sentences."""
    if rng.random() < 0.15:
        return describe(facts, rng)
    words = [*facts.values(), *rng.choices(list(facts.values()), k=rng.randint(0, 6))]
    rng.shuffle(words)
    return "".join(f" {word}" for word in words)


def example(rng: random.Random) -> Row:
    """One training example; the note lines stand where the placeholders of the proteins will stand."""
    facts = random_facts(rng)
    draw = rng.random()
    if draw < 0.3:
        return f"{notes(facts, rng)}\n", rng.choice(DESCRIPTION_REQUESTS), describe(facts, rng)
    kind = rng.choice(sorted(facts))
    if draw < 0.45:
        other = random_facts(rng)
        while kind not in other:
            other = random_facts(rng)
        if rng.random() < 0.5:
            other[kind] = facts[kind]
        question: Question = pair_question(facts, other, kind)
        return f"{notes(facts, rng)}\n{notes(other, rng)}\n", question.question, question.answer
    question = yes_no_question(facts, kind, rng) if draw < 0.6 else open_question(facts, kind, rng)
    return f"{notes(facts, rng)}\n", question.question, question.answer


def train_tokenizer(seed: int, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE in the manner of Llama 3, trained on the world's own texts."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    rng = random.Random(f"{seed}/tokenizer")
    texts = ["".join(example(rng)) for _ in range(4000)] + ["user\n\n", "assistant\n\n", "system\n\n"] * 200
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>", chat_template=CHAT_TEMPLATE, model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def decoder_config(
    tokenizer: PreTrainedTokenizerFast, hidden_size: int = 128, num_layers: int = 4, num_heads: int = 4
) -> LlamaConfig:
    """LLaMA's architecture at a small size."""
    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden_size, intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers, num_attention_heads=num_heads, num_key_value_heads=num_heads // 2,
        max_position_embeddings=2048, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=hidden_size**-0.5,
    )  # fmt: skip


def encode(tokenizer: PreTrainedTokenizerFast, row: Row) -> tuple[list[int], tuple[int, int], int]:
    """Token ids of the whole chat, the span of the notes in it, and where the answer begins."""
    note, question, answer = row
    head = tokenizer(
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n", add_special_tokens=False
    ).input_ids
    body = tokenizer(note, add_special_tokens=False).input_ids
    tail = tokenizer(
        f"{question}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", add_special_tokens=False
    ).input_ids
    end = tokenizer(f"{answer}<|eot_id|>", add_special_tokens=False).input_ids
    return head + body + tail + end, (len(head), len(head) + len(body)), len(head + body + tail)


def batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Ids, attention mask, labels and note mask, ``(batch_size, T)`` each. Answers are supervised."""
    pad = tokenizer.pad_token_id
    while True:
        rows = [encode(tokenizer, example(rng)) for _ in range(batch_size)]
        longest = max(len(ids) for ids, _, _ in rows)
        ids = torch.full((batch_size, longest), pad)
        labels = torch.full((batch_size, longest), -100)
        note_mask = torch.zeros(batch_size, longest, dtype=torch.bool)
        mask = torch.zeros(batch_size, longest, dtype=torch.long)
        for number, (tokens, (note_start, note_end), answer_start) in enumerate(rows):
            row = torch.tensor(tokens)
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
            labels[number, answer_start : len(row)] = row[answer_start:]
            note_mask[number, note_start:note_end] = True
        yield ids, mask, labels, note_mask


def disturb(embeddings_BTD: Tensor) -> Tensor:
    """Each row's embeddings with noise and with their neighbors mixed in, both of a strength drawn per row."""
    noise, blur = torch.rand(2, len(embeddings_BTD), 1, 1)
    mixed = embeddings_BTD + MAX_BLUR * blur * embeddings_BTD.roll(1, dims=1)
    disturbed: Tensor = mixed + MAX_NOISE * noise * embeddings_BTD.detach().std() * torch.randn_like(embeddings_BTD)
    return disturbed


def pretrain_decoder(
    output: Path, *, seed: int, steps: int, batch_size: int = 32, learning_rate: float = 2e-3
) -> list[float]:
    """Train from scratch and write a Hugging Face folder (safetensors, tokenizer, chat template).

    Returns:
        The loss of every step, nats per answer token.
    """
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(seed)
    model = LlamaForCausalLM(decoder_config(tokenizer))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    stream = batches(tokenizer, random.Random(f"{seed}/decoder"), batch_size)
    losses = []
    for step in range(steps):
        ids, mask, labels, note_mask = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = scheduled(step, num_steps=steps, peak=learning_rate, warmup_ratio=0.05)
        embeddings = model.get_input_embeddings()(ids)
        if step % 2:
            embeddings = torch.where(note_mask[..., None], disturb(embeddings), embeddings)
        loss = model(inputs_embeds=embeddings, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 100 == 99:
            logger.info("decoder step %d of %d: answer loss %.3f", step + 1, steps, sum(losses[-100:]) / 100)
    output.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return losses
