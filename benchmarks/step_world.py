"""What a training step is measured on: a model of a preset's true shapes with random weights, and a planned batch."""

import math
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from protein2text.config import RunConfig, load_run
from protein2text.models.attention import PACKED
from protein2text.models.bridge import Bridge
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.decoder import Decoder
from protein2text.models.encoder import Encoder, EncoderShape
from protein2text.models.encoders import layer_of, size_of
from protein2text.models.model_config import DecoderConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from protein2text.models.sources import resolve_source
from protein2text.train.plan import Plan, RecordSize
from protein2text.train.planned import PlannedMicroBatch, PlannedStep
from protein2text.train.stage_config import Stage, StageConfig

MEDIAN_RESIDUES, SIGMA_RESIDUES, LIMITS_RESIDUES = 294, 0.63, (30, 4000)
PROMPT_TOKENS = {"alignment": 24, "instruction": 48}
"""The placeholder included."""
ANSWER_TOKENS = {"alignment": (64, 0.5), "instruction": (40, 0.5)}
"""Median and sigma of log-normal lengths."""
LIMITS_ANSWER = (4, 512)
DECODERS = {  # from their config.json on the hub
    "meta-llama/Llama-3.1-8B-Instruct": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    },
    "HuggingFaceTB/SmolLM2-360M-Instruct": {
        "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
        "num_key_value_heads": 5, "head_dim": 64, "vocab_size": 49152, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    },
}  # fmt: skip


class RandomDecoder(Decoder):
    """The product's decoder around random weights."""

    def __init__(self, config: DecoderConfig, shape: LlamaConfig, device: torch.device) -> None:
        nn.Module.__init__(self)
        self.config, self.compat, self.cleans_up, self.has_lora, self.is_merged = config, False, False, False, False
        with device:
            self.language_model: Any = AutoModelForCausalLM.from_config(
                shape, dtype=getattr(torch, config.dtype), attn_implementation=PACKED
            )
        self.language_model.requires_grad_(False)


class RandomModel(ProteinToText):
    """The product's model around random weights."""

    def __init__(self, config: ModelConfig, scale: float, device: torch.device) -> None:
        nn.Module.__init__(self)
        self.config, self.compat = config, False
        size = size_of(config.encoder)
        assert size is not None, f"{config.encoder.source} is no published encoder"
        heads, layers = max(1, round(size.num_heads * scale)), max(2, round(size.num_layers * scale))
        width = size.width // size.num_heads * heads
        shape = EncoderShape(width, layers, heads, 4 * width)
        with device:
            self.encoder: Any = Encoder(shape, layer=layer_of(config.encoder), rope=config.encoder.esm_rope)
            self.encoder.to(getattr(torch, config.encoder.dtype)).requires_grad_(False).eval()
            self.decoder = RandomDecoder(config.decoder, decoder_shape(config.decoder, scale), device)
            self.bridge = Bridge(config.bridge, self.encoder.width, self.decoder.width)


def decoder_shape(config: DecoderConfig, scale: float) -> LlamaConfig:
    """The preset's decoder, heads, layers, hidden width and vocabulary scaled."""
    known = DECODERS.get(config.source)
    full = LlamaConfig(**known) if known else AutoConfig.from_pretrained(resolve_source(config.source, None))
    if scale == 1:
        return full
    groups = max(1, round(full.num_key_value_heads * scale))
    heads = groups * (full.num_attention_heads // full.num_key_value_heads)
    return LlamaConfig(**full.to_dict() | {
        "num_key_value_heads": groups, "num_attention_heads": heads, "hidden_size": heads * full.head_dim,
        "num_hidden_layers": max(2, round(full.num_hidden_layers * scale)),
        "intermediate_size": max(8, round(full.intermediate_size * scale)),
        "vocab_size": max(512, round(full.vocab_size * scale)),
    })  # fmt: skip


def run_of(preset: str) -> RunConfig:
    """A preset as it is measured: LoRA without dropout, so that both ways have one loss, and proteins in one pass."""
    run = load_run(preset)
    lora = run.model.decoder.lora.model_copy(update={"dropout": 0.0})
    decoder = run.model.decoder.model_copy(update={"lora": lora})
    return run.model_copy(update={"model": run.model.model_copy(update={"decoder": decoder, "long_proteins": "exact"})})


@dataclass(frozen=True)
class World:
    """A model, and one step's records as they were drawn and as the product plans them."""

    model: RandomModel
    examples: list[Example]
    sequences: list[str]
    planned: PlannedStep


def world_of(preset: str, stage: Stage, scale: float, num_records: int, device: torch.device) -> World:
    """A model in its stage, and a batch of distinct proteins."""
    run, rng = run_of(preset), random.Random(0)
    torch.manual_seed(0)
    model = RandomModel(run.model, scale, device)
    model.set_stage(stage)
    if run.stage(stage).activation_checkpointing:
        model.decoder.checkpoint_activations()
    model.to(device).train()
    vocabulary = model.decoder.language_model.config.vocab_size
    examples, sequences = [], []
    for _ in range(num_records):
        residues = _drawn(rng, MEDIAN_RESIDUES, SIGMA_RESIDUES, LIMITS_RESIDUES)
        answer = _drawn(rng, *ANSWER_TOKENS[stage], LIMITS_ANSWER)
        prompt = [rng.randrange(vocabulary) for _ in range(PROMPT_TOKENS[stage])]
        prompt[4] = PROTEIN_ID
        words = [rng.randrange(vocabulary) for _ in range(answer)]
        examples.append(Example(prompt + words, [IGNORED] * len(prompt) + words))
        sequences.append("".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=residues)))
    return World(model, examples, sequences, planned_step(run.model, run.stage(stage), examples, sequences))


def planned_step(
    model: ModelConfig, stage: StageConfig, examples: list[Example], sequences: list[str], *, worker: int = 0,
    num_workers: int = 1,
) -> PlannedStep:  # fmt: skip
    """One worker's part of the product's plan of one step of all these records."""
    records = tuple(
        RecordSize(
            f"{number:06}", model.bridge.num_positions(len(example.ids), [sequence]), len(sequence),
            sum(label != IGNORED for label in example.labels),
        )
        for number, (example, sequence) in enumerate(zip(examples, sequences, strict=True))
    )  # fmt: skip
    plan = Plan(
        records=records, seed=0, epochs=1, global_batch=len(records), micro_batch_tokens=stage.micro_batch_tokens,
        micro_batch_residues=stage.micro_batch_residues,
    )  # fmt: skip
    shares = plan.step(0, num_workers)
    micro_batches = [
        PlannedMicroBatch(
            [records[index].record_id for index in batch.records], [examples[index] for index in batch.records],
            [[sequences[index]] for index in batch.records], batch.counted,
        )
        for batch in shares[worker]
    ]  # fmt: skip
    num_counted = sum(batch.counted for share in shares for batch in share)
    return PlannedStep(0, micro_batches, plan.step_size(0), num_counted)


def _drawn(rng: random.Random, median: float, sigma: float, limits: tuple[int, int]) -> int:
    return min(max(round(rng.lognormvariate(math.log(median), sigma)), limits[0]), limits[1])
