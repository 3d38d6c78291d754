"""What one worker's device must hold to train a stage, worked out from shapes before anything is loaded.

What is kept for the backward pass is not a formula: the model's own forward runs on tensors without storage, and what
autograd saves is added up. So packing, LoRA's dropout, supervised rows and activation checkpointing count as they are.
What is only a guess has its own line.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from protein2text.config import RunConfig
from protein2text.models.batches import Batch, pack
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example
from protein2text.models.splicing import decoder_inputs
from protein2text.resources import fewest
from protein2text.train.launch import MAX_BUCKET_ELEMENTS
from protein2text.train.skeleton import Skeleton, skeleton
from protein2text.train.stage_config import ScalingConfig, Stage

GIB = 2**30
FLOAT32 = 4
CUDA_BYTES = int(1.5 * GIB)
"""CUDA's context, NCCL's and cuBLAS's workspaces, and the allocator's slack: a guess, not measured."""
BUCKETS = {0: 1, 1: 1, 2: 2, 3: 3}
"""Copies of the gradients being reduced that DeepSpeed 0.19 has at once by ZeRO stage, as measured on CPUs: the bucket,
from stage 2 the gradients that it was filled from, in stage 3 also what it was reduced to."""
MAX_REDUCED_ELEMENTS = 500_000_000
"""Gradient elements that stage 0 reduces at once (DeepSpeed's default)."""
MAX_GATHERED_ELEMENTS = 1_000_000_000
"""ZeRO-3 holds at most so many gathered weights at once (DeepSpeed's default)."""


@dataclass(frozen=True)
class Load:
    """The largest micro-batch that a worker holds."""

    records: int
    tokens: int
    """Decoder positions, the proteins' rows included."""
    residues: int
    supervised: int
    """Rows of the logits."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what needs them, at the moment when a step needs most."""

    parts: dict[str, int]
    remedies: tuple[str, ...]
    """What to turn if it does not fit, in the order to try."""

    @property
    def needed(self) -> int:
        return sum(self.parts.values())

    @property
    def fixed(self) -> int:
        """What no micro-batch changes: weights, gradients and optimizer, which are exact."""
        return sum(self.parts[name] for name in ("frozen weights", "trained weights", "gradients", "optimizer"))

    def sentence(self, device_bytes: int | None, device: str = "GPU") -> str:
        """Such as ``needs 61 GiB of 80 GiB per GPU``, with the breakdown and, if it does not fit, the remedies."""
        of = f" of {size(device_bytes)}" if device_bytes else ""
        breakdown = ", ".join(f"{name} {size(num_bytes)}" for name, num_bytes in self.parts.items() if num_bytes)
        text = f"needs about {size(self.needed)}{of} per {device}: {breakdown}"
        return text if not device_bytes or self.needed <= device_bytes else f"{text}. Too much: {self.advice}"

    @property
    def advice(self) -> str:
        return "; then ".join(self.remedies) or "use a GPU with more memory, or a smaller model"


def estimate(config: RunConfig, stage: Stage, load: Load | None = None) -> MemoryEstimate:
    """The most that one worker's device holds at once.

    Args:
        config: the run; bases are read for their sizes alone.
        stage: which parts train.
        load: the largest micro-batch; by default the largest that the stage's bounds allow.

    Raises:
        MissingWeights: a base whose sizes cannot be found.
    """
    load = load or full_micro_batch(config, stage)
    whole = skeleton(config.model, stage)
    counts = whole.counts().values()
    trained = sum(count.trained for count in counts)
    frozen_bytes = sum(count.num_bytes - FLOAT32 * count.trained for count in counts)
    parts = state_bytes(trained, frozen_bytes, config.scaling) | _working_bytes(config, stage, load, whole)
    if config.scaling.gpus_per_worker:
        parts["CUDA and NCCL (a guess)"] = CUDA_BYTES
    return MemoryEstimate(parts, remedies(config, stage))


def full_micro_batch(config: RunConfig, stage: Stage, mean_tokens: float | None = None) -> Load:
    """A micro-batch at its bounds.

    Args:
        config: the run, for its bounds and the rows that a protein takes.
        stage: whose bounds.
        mean_tokens: decoder positions of a usual record; by default all are as long as ``max_length`` allows, which
            makes the most supervised rows.
    """
    bounds, bridge = config.stage(stage), config.model.bridge
    tokens, residues = bounds.micro_batch_tokens, bounds.micro_batch_residues
    records = max(1, int(tokens / (mean_tokens or bounds.max_length)))
    if bridge.kind == "projector":  # each residue is a position; a full text beside half of it is worst
        residues = min(residues, tokens // 2)
    protein_rows = residues if bridge.kind == "projector" else records * bridge.num_latents
    return Load(records, tokens, residues, max(records, tokens - protein_rows))


def state_bytes(trained: int, frozen_bytes: int, scaling: ScalingConfig) -> dict[str, int]:
    """Weights, gradients, Adam's moments and DeepSpeed's buffers on one of the workers, by ZeRO stage.

    Args:
        trained: parameters that train, all in float32.
        frozen_bytes: of the bases, which only stage 3 splits.
        scaling: the fewest workers that it allows hold the largest shares.
    """
    workers, zero = fewest(scaling), scaling.zero_stage
    whole, share = FLOAT32 * trained, -(-FLOAT32 * trained // workers)
    copies = 3 if zero else 2  # Adam's two moments and, when split, the float32 weights that it updates
    gathered = min(MAX_GATHERED_ELEMENTS * 2, frozen_bytes + whole) if zero == 3 else 0
    buckets = BUCKETS[zero] + bool(scaling.gpus_per_worker and zero)  # there one is filled while another is reduced
    return {
        "frozen weights": frozen_bytes // (workers if zero == 3 else 1),
        "gathered weights": gathered,
        "trained weights": share if zero == 3 else whole,
        "gradients": share if zero >= 2 else whole,
        "optimizer": 0 if scaling.offload_optimizer else copies * (share if zero else whole),
        "gradient buckets": buckets * FLOAT32 * min(trained, MAX_BUCKET_ELEMENTS if zero else MAX_REDUCED_ELEMENTS),
    }


def remedies(config: RunConfig, stage: Stage) -> tuple[str, ...]:
    """What would lower the need, in the order to try, with the values there are."""
    bounds, scaling = config.stage(stage), config.scaling
    tried = []
    if bounds.micro_batch_tokens > bounds.max_length:
        limit = f"now {bounds.micro_batch_tokens}, at least max_length={bounds.max_length}"
        tried.append(f"lower {stage}.micro_batch_tokens ({limit})")
    longest = f"now {bounds.micro_batch_residues}, at least the longest record"
    tried.append(f"lower {stage}.micro_batch_residues ({longest})")
    if not bounds.activation_checkpointing:
        tried.append(f"set {stage}.activation_checkpointing to true")
    if scaling.zero_stage < 3 and fewest(scaling) > 1:
        tried.append(f"raise scaling.zero_stage (now {scaling.zero_stage})")
    if not scaling.offload_optimizer:
        tried.append("set scaling.offload_optimizer to true")
    return tuple(tried)


def size(num_bytes: int) -> str:
    """As people say it."""
    for unit, name in ((GIB, "GiB"), (2**20, "MiB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.{0 if num_bytes >= 10 * unit else 1}f} {name}"
    return f"{num_bytes / 2**10:.0f} KiB"


def _working_bytes(config: RunConfig, stage: Stage, load: Load, whole: Skeleton) -> dict[str, int]:
    """What a micro-batch needs: the larger of the encoder's forward, and all that the backward pass finds."""
    rows = load.residues + 2 * load.records
    states = rows * whole.encoder.width * getattr(torch, config.model.encoder.dtype).itemsize
    encoder = rows * whole.encoder.row_bytes
    activations, logits = _saved_bytes(config, stage, load)
    if encoder > activations + logits:
        return {"encoder states": states, "encoder's forward": encoder}
    return {"encoder states": states, "activations": activations, "logits": logits}


def _saved_bytes(config: RunConfig, stage: Stage, load: Load) -> tuple[int, int]:
    """Saved for the backward pass, and what the loss needs beside it: the logits, their gradient, both in two dtypes.

    Layers of a decoder are alike: one and two of them are run, and the difference is what each adds.
    """
    batch = _batch_of(config, load)
    total = skeleton(config.model, stage).language_model.config
    checkpointed = config.stage(stage).activation_checkpointing
    precision = torch.bfloat16 if config.stage(stage).precision == "bf16" else None

    def saved(num_layers: int, checkpoint: bool) -> int:
        part = skeleton(config.model, stage, num_layers=num_layers)
        return saved_by(part, batch, precision, checkpoint=checkpoint)

    one, two = saved(1, checkpointed), saved(2, checkpointed)
    activations = one + (two - one) * (total.num_hidden_layers - 1)
    if checkpointed:  # the layer that is computed again is there whole
        activations += saved(2, False) - saved(1, False)
    computed = 2 if precision or config.model.decoder.dtype != "float32" else 0
    return activations, load.supervised * total.vocab_size * (FLOAT32 + computed)


def saved_by(model: Skeleton, batch: Batch, precision: torch.dtype | None, *, checkpoint: bool) -> int:
    """Bytes that autograd keeps of one forward and its loss, without those of weights.

    Args:
        model: its parameters become tensors without storage.
        batch: on the CPU; only its sizes matter.
        precision: of autocast, None for none.
        checkpoint: whether the decoder's layers are computed again.
    """
    if checkpoint:
        model.language_model.activation_checkpointing_enable({"use_reentrant": False})
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with mode:
        weights = {_storage(weight) for weight in _give_fakes(model.bridge, model.language_model)}
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision is not None)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            _loss(model, batch)
    return sum(num_bytes for place, num_bytes in kept.items() if place not in weights)


def _loss(model: Skeleton, batch: Batch) -> Tensor:
    """As `ProteinToText.forward`, from the residue states on."""
    decoder: Any = model.language_model.train()
    text = batch.text
    states_SE = torch.empty(
        sum(batch.proteins.state_lengths), model.encoder.width, dtype=next(model.encoder.parameters()).dtype
    )
    rows_LD = model.bridge(states_SE, batch.proteins)
    inputs_TD = decoder_inputs(decoder.get_input_embeddings(), model.bridge, rows_LD, text)
    logits_MV = decoder(
        inputs_embeds=inputs_TD[None], position_ids=text.positions_T[None], use_cache=False,
        attention_mask=inputs_TD.new_empty(1, 1, 1, 1), logits_to_keep=text.supervised_rows_M,
        packed_cu_seqlens=text.cu_seqlens_N1, packed_lengths=text.lengths,
    ).logits[0]  # fmt: skip
    return F.cross_entropy(logits_MV.float(), text.labels_M, reduction="sum")


def _batch_of(config: RunConfig, load: Load) -> Batch:
    """Records of equal size that make up the load, each with one protein of its own."""
    bridge, examples, sequences = config.model.bridge, [], []
    shares = (_shares(total, load.records) for total in (load.tokens, load.residues, load.supervised))
    for number, (num_positions, num_residues, answer) in enumerate(zip(*shares, strict=True)):
        prompt = max(1, num_positions - bridge.num_rows(num_residues) - answer)
        labels = [IGNORED] * (1 + prompt) + [0] * answer
        examples.append(Example([PROTEIN_ID] + [0] * (prompt + answer), labels))
        sequences.append(
            ["".join("AC"[number >> bit & 1] for bit in range(16)).ljust(num_residues, "A")[:num_residues]]
        )
    return pack(examples, sequences, bridge)


def _shares(total: int, number: int) -> list[int]:
    return [max(1, total * (at + 1) // number - total * at // number) for at in range(number)]


def _storage(tensor: Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata
    return place


def _give_fakes(*modules: nn.Module) -> list[Tensor]:
    """Replace parameters and buffers by tensors of a fake device, shared ones by one; returns them."""
    fakes: dict[int, Tensor] = {}
    for module in (part for root in modules for part in root.modules()):
        for owner in (module._parameters, module._buffers):
            for name, tensor in owner.items():
                if tensor is None:
                    continue
                if id(tensor) not in fakes:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                    is_weight = isinstance(tensor, nn.Parameter)
                    fakes[id(tensor)] = nn.Parameter(fake, requires_grad=tensor.requires_grad) if is_weight else fake
                owner[name] = fakes[id(tensor)]  # type: ignore[assignment]
    return list(fakes.values())
