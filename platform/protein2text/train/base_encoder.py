"""Pretrain the tiny preset's encoder: ESM-2's architecture and masked-language-model objective on synthetic proteins.

Real users start from ESM-2's published weights. The tiny preset starts from these, so that the demo begins where they
do: with a frozen encoder that has read its proteins' families but no text.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import EsmConfig, EsmForMaskedLM, EsmTokenizer

from protein2text.data.sample_families import CATALYTIC, CONTEXT, Family
from protein2text.data.sample_proteins import build_domains, held_out_combinations, make_protein
from protein2text.models.alphabet import CLS_ID, EOS_ID, MASK_ID, PAD_ID, RESIDUE_IDS, VOCABULARY
from protein2text.train.schedule import learning_rate as scheduled

logger = logging.getLogger(__name__)

MASKED_SHARE = 0.15
"""Share of residues to predict; of these 80 % are masked, 10 % replaced, 10 % kept (BERT, arXiv:1810.04805; ESM-2)."""

SINGLE_DOMAIN_SHARE = 0.75
POOL_BATCHES = 8


def encoder_config(hidden_size: int = 96, num_layers: int = 4, num_heads: int = 6) -> EsmConfig:
    """ESM-2's architecture at a small size."""
    return EsmConfig(
        vocab_size=len(VOCABULARY), mask_token_id=MASK_ID, pad_token_id=PAD_ID, hidden_size=hidden_size,
        num_hidden_layers=num_layers, num_attention_heads=num_heads, intermediate_size=4 * hidden_size,
        max_position_embeddings=1026, position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5,
        initializer_range=hidden_size**-0.5,
    )  # fmt: skip


def sequences(world_seed: int, held_out_share: float, rng: random.Random) -> Iterator[str]:
    """An endless stream of fresh synthetic proteins, one domain or an allowed combination."""
    domains = build_domains(world_seed)
    held_out = held_out_combinations(world_seed, held_out_share)
    while True:
        catalytic, context = rng.choice(CATALYTIC), rng.choice(CONTEXT)
        families: tuple[Family, ...] = (catalytic, context)
        if rng.random() < SINGLE_DOMAIN_SHARE:
            families = (rng.choice((catalytic, context)),)
        elif (catalytic.name, context.name) in held_out:
            continue
        yield make_protein("pretraining", families, domains, rng).sequence


def batches(stream: Iterator[str], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and attention mask, ``(batch_size, R)`` each; lengths are sorted within a pool to spare padding."""
    shuffle = random.Random(0)
    while True:
        pool = sorted((next(stream) for _ in range(batch_size * POOL_BATCHES)), key=len)
        starts = list(range(0, len(pool), batch_size))
        shuffle.shuffle(starts)
        for start in starts:
            rows = [
                [CLS_ID, *(RESIDUE_IDS[letter] for letter in row), EOS_ID] for row in pool[start : start + batch_size]
            ]
            longest = max(map(len, rows))
            ids = torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in rows])
            yield ids, ids != PAD_ID


def mask_residues(ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Corrupted ids and labels (-100 where nothing is to be predicted), both of the shape of ``ids``."""
    chosen = (torch.rand(ids.shape, generator=generator) < MASKED_SHARE) & (ids > 3)
    fate = torch.rand(ids.shape, generator=generator)
    random_residues = torch.randint(4, 24, ids.shape, generator=generator)
    corrupted = torch.where(chosen & (fate < 0.8), torch.full_like(ids, MASK_ID), ids)
    corrupted = torch.where(chosen & (fate >= 0.9), random_residues, corrupted)
    return corrupted, torch.where(chosen, ids, torch.full_like(ids, -100))


def pretrain_encoder(
    output: Path,
    *,
    world_seed: int,
    held_out_share: float,
    cycles: Sequence[int],
    batch_size: int = 32,
    learning_rate: float = 3e-3,
) -> list[float]:
    """Train from scratch and write a Hugging Face folder (safetensors).

    Args:
        cycles: steps of each learning-rate cycle; the rate and the moments start anew in each (warm restarts, SGDR,
            arXiv:1608.03983).

    Returns:
        The loss of every step, nats per masked residue.
    """
    torch.manual_seed(world_seed)
    model = EsmForMaskedLM(encoder_config())
    generator = torch.Generator().manual_seed(world_seed)
    stream = batches(sequences(world_seed, held_out_share, random.Random(f"{world_seed}/encoder")), batch_size)
    losses: list[float] = []
    for steps in cycles:
        losses += _train_cycle(model, stream, generator, steps, learning_rate)
    write_encoder(model, output)
    return losses


def _train_cycle(
    model: EsmForMaskedLM,
    stream: Iterator[tuple[Tensor, Tensor]],
    generator: torch.Generator,
    steps: int,
    learning_rate: float,
) -> list[float]:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    losses: list[float] = []
    for step in range(steps):
        ids, mask = next(stream)
        corrupted, labels = mask_residues(ids, generator)
        for group in optimizer.param_groups:
            group["lr"] = scheduled(step, num_steps=steps, peak=learning_rate, warmup_ratio=0.05)
        loss = model(input_ids=corrupted, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 100 == 99:
            logger.info("encoder step %d of %d: masked loss %.3f", step + 1, steps, sum(losses[-100:]) / 100)
    return losses


def write_encoder(model: EsmForMaskedLM, output: Path) -> None:
    """Write the folder as ESM-2 is published: configuration, safetensors, vocabulary.

    ``save_pretrained`` of transformers 5.23 would give the norms' tensors TensorFlow's names.
    """
    output.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(output)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "lm_head.decoder.weight"}
    save_file(tensors, output / "model.safetensors", metadata={"format": "pt"})
    vocabulary = output / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n")
    EsmTokenizer(str(vocabulary)).save_pretrained(output)
