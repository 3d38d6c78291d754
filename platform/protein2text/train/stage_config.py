"""Configuration of one training stage and of its workers. Light imports: the run configuration reads this."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from protein2text.base_config import Config
from protein2text.errors import shortened

Stage = Literal["alignment", "instruction"]
"""Alignment trains the bridge on descriptions; instruction tuning the bridge and LoRA on questions and answers."""


Beta = Annotated[float, Field(ge=0, lt=1)]
"""Share of an average of AdamW that each step keeps."""

MAX_WORKERS = 1_000_000

MAX_VALIDATION_SHARE = 0.02
"""Of a run's work that validation may take where its interval is not set."""


class ValidationConfig(Config):
    """Losses on held-out proteins while a stage trains: with the true protein, a shuffled one, and another one."""

    interval_steps: int | None = Field(default=None, gt=0)
    """Optimizer steps between two validations; by default so many that validation takes 2 % of the work. There is
    always one after the last step."""
    max_records: int = Field(default=64, ge=0, le=1_000_000)
    """Records of the split's validation side that are read, of as many proteins as possible; 0 validates never."""

    def interval(self, num_records: int, global_batch: int) -> int:
        """Steps between two validations of ``num_records``.

        A record is read forward three times here, and once forward and once backward in training.
        """
        if self.interval_steps is not None:
            return self.interval_steps
        return math.ceil(3 * num_records / (MAX_VALIDATION_SHARE * 2 * global_batch))


class StageConfig(Config):
    """One stage: what a step is, how the learning rate moves, and what fits on a worker at once."""

    epochs: int = Field(gt=0)
    """Passes over the records; batches run across the seam between two passes."""
    global_batch: int = Field(gt=0)
    """Records per optimizer step, exact for any number of workers."""
    learning_rate: float = Field(gt=0)
    """Peak, reached at the end of the warm-up."""
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of the optimizer steps spent rising linearly from zero."""
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine"] = "cosine"
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    loss_norm: Literal["global_tokens", "per_device_mean"] = "global_tokens"
    """``global_tokens``: the mean over all supervised tokens of the global batch, whoever holds them.
    ``per_device_mean``: the mean of the means over what each worker holds at once, as in LLaVA's trainer: it depends on
    the number of workers and on the micro-batch bounds, and a token weighs more where few stand beside it."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients of a larger global L2 norm are scaled down to it."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Arithmetic of the forward and backward pass; trained weights and their optimizer state are always float32."""
    max_length: int = Field(default=2048, gt=0)
    """Longest record in decoder positions, proteins' rows included; longer ones are left out and named in the log."""
    micro_batch_tokens: int = Field(default=8192, gt=0)
    """Decoder positions one worker holds at once."""
    micro_batch_residues: int = Field(default=16384, gt=0)
    """Residues one worker holds at once."""
    activation_checkpointing: bool = False
    """Keep only what enters each decoder layer, and compute the rest of it again in the backward pass: about a third
    more work for a fraction of the activations."""
    loss_kernel: Literal["auto", "torch", "liger"] = "auto"
    """``liger`` takes the loss from hidden states and never holds all logits (extra ``liger``, GPUs only); ``auto``
    does so where it is installed and fits the decoder."""
    state_cache_gib: float = Field(default=0.0, ge=0)
    """Disk that the folder of residue states may take, so that a protein that comes back is not encoded again: that of
    ``data.features``, else one in the run's own folder while it trains. 0 keeps none, which is right where each protein
    is seen once; what ``data.features`` holds is used all the same. Needs ``zero_stage`` 2 or lower."""
    checkpoint_interval_steps: int = Field(default=100, gt=0)
    """Optimizer steps between two checkpoints: a lost worker costs at most these."""
    keep_checkpoints: int = Field(default=2, gt=0)
    """Newest checkpoints kept; two, so that a damaged one has a predecessor."""
    keep_best: int = Field(default=1, ge=0)
    """Checkpoints of the lowest validation loss that are kept beside the newest; none where no loss is known."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stop, and end the schedule, after this many optimizer steps."""
    validation: ValidationConfig = ValidationConfig()

    @model_validator(mode="after")
    def one_record_fits(self) -> Self:
        if self.micro_batch_tokens < self.max_length:
            raise ValueError(
                f"micro_batch_tokens={self.micro_batch_tokens} cannot hold a record of max_length={self.max_length}; "
                f"raise the first or lower the second"
            )
        return self


class InstructionConfig(StageConfig):
    """The instruction stage: a stage, and where it begins."""

    start: str | None = None
    """Model folder, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` to begin with; by default the model that this
    run's own alignment made. An alias is looked up once, when the stage begins."""


class ScalingConfig(Config):
    """How many workers train, what each holds, and how their state is split."""

    num_workers: int | tuple[int, int] = 1
    """A number, or ``[fewest, most]``: then the run takes what the cluster has whenever it starts or restarts."""
    cpus_per_worker: float = Field(default=1, gt=0)
    gpus_per_worker: float = Field(default=0, ge=0)
    """Zero trains on CPU over gloo; any GPU trains over NCCL."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO: 0 replicates, 1 splits optimizer state, 2 also gradients, 3 also weights."""
    offload_optimizer: bool = False
    """Keep AdamW's moments and the float32 weights that it updates in host memory, and update there (``zero_stage`` 1
    to 3): frees up to 12 bytes a trained parameter on the GPU, for a transfer of gradients and weights each step."""
    placement_strategy: Literal["PACK", "SPREAD"] = "PACK"
    """``PACK`` puts workers on as few nodes as can be, since gradients go faster between the GPUs of one node than over
    the network; ``SPREAD`` deals them out, where each needs the memory, disk or network of a node to itself."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """Most that a worker's device can do, dense bfloat16 TFLOP/s, which model FLOP utilization is measured against; by
    default what the datasheet of a known GPU says. Where neither is known, utilization is not measured."""
    hang_timeout_s: int = Field(default=600, gt=0)
    """A worker that no longer answers is found after so long, and the run restarts; more than any step may take."""
    max_restarts: int = Field(default=3, ge=0)
    """Times a run restarts from its newest good checkpoint after losing a worker."""

    @field_validator("num_workers", mode="before")
    @classmethod
    def one_number_or_two(cls, value: Any) -> Any:
        numbers = list(value) if isinstance(value, (list, tuple)) else [value, value]
        if len(numbers) != 2 or any(type(number) is not int or number < 1 for number in numbers):
            raise ValueError(f"{shortened(repr(value))} is neither a number of workers nor [fewest, most]")
        if max(numbers) > MAX_WORKERS:
            raise ValueError(f"{shortened(repr(value))} is more than {MAX_WORKERS} workers")
        if numbers[0] > numbers[1]:
            raise ValueError(f"{shortened(repr(value))} is not [fewest, most]; write the smaller number first")
        return value

    @model_validator(mode="after")
    def offloading_splits(self) -> Self:
        if self.offload_optimizer and not self.zero_stage:
            raise ValueError("offload_optimizer needs zero_stage 1, 2 or 3; stage 0 keeps everything where it trains")
        return self


class CheckpointStoreConfig(Config):
    """A second place for checkpoints, beside the run's folder: a new machine goes on from what lies there."""

    url: str | None = None
    """Folder, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``; copies lie under ``URL/RUN/STAGE``. None by default."""
    attempts: int = Field(default=3, gt=0)
    """Times an upload is tried before it is given up and counted; what has arrived is not sent again."""
    timeout_s: float = Field(default=300, gt=0)
    """Limit of one attempt to copy a whole checkpoint and read it back."""

    @model_validator(mode="after")
    def outlives_the_process(self) -> Self:
        if self.url is not None and not self.url.strip():
            raise ValueError(f"url={shortened(repr(self.url))} names no place; name a folder, s3:// or gs://")
        if self.url is not None and self.url.startswith("memory:"):
            raise ValueError(
                f"url={shortened(repr(self.url))} lives in one process only; name a folder, s3:// or gs://"
            )
        return self
