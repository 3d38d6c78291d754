"""All that a run file decides about a cluster, without data, weights or a cluster: `protein2text train --resolve`."""

from dataclasses import asdict
from typing import Any

from protein2text.config import STAGES, RunConfig
from protein2text.resources import demand, fewest, most
from protein2text.train.launch import engine_settings, launch
from protein2text.train.memory_estimate import estimate
from protein2text.train.skeleton import skeleton
from protein2text.train.stage_config import Stage


def resolved(config: RunConfig) -> dict[str, Any]:
    """What Ray, torch, NCCL and DeepSpeed will be told, what the cluster must have, and what fits a device.

    Raises:
        MissingWeights: a base that is neither here nor known by its published sizes.
    """
    ray = asdict(launch(config.scaling))
    ray["scaling_config"]["num_workers"] = _plain(config.scaling.num_workers)
    return {
        "run": config.name,
        "cluster_needs": demand(config.scaling),
        "ray_train": ray,
        "stages": {stage: _stage(config, stage) for stage in STAGES},
    }


def _stage(config: RunConfig, stage: Stage) -> dict[str, Any]:
    scaling, settings = config.scaling, config.stage(stage)
    expected = estimate(config, stage)
    num_trained = sum(count.trained for count in skeleton(config.model, stage).counts().values())
    return {
        "trained_parameters": num_trained,
        "accumulation": accumulation(config, stage),
        "deepspeed": engine_settings(
            num_trained, settings, zero_stage=scaling.zero_stage, offload=scaling.offload_optimizer,
            on_gpu=bool(scaling.gpus_per_worker),
        ),
        "memory_bytes": {"together": expected.needed, **expected.parts},
    }  # fmt: skip


def accumulation(config: RunConfig, stage: Stage) -> dict[str, Any]:
    """How a global batch is dealt: micro-batches are as many as the records of a step need, between two bounds."""
    settings = config.stage(stage)
    per_worker = [-(-settings.global_batch // count) for count in (most(config.scaling), fewest(config.scaling))]
    shortest = config.model.bridge.num_rows(1) + 1
    return {
        "global_batch": settings.global_batch,
        "records_per_worker": per_worker[0] if per_worker[0] == per_worker[1] else per_worker,
        "micro_batch_tokens": settings.micro_batch_tokens,
        "micro_batch_residues": settings.micro_batch_residues,
        "fewest_micro_batches": -(-per_worker[0] * shortest // settings.micro_batch_tokens),
        "most_micro_batches": per_worker[1],
    }


def _plain(num_workers: int | tuple[int, int]) -> int | list[int]:
    return num_workers if isinstance(num_workers, int) else list(num_workers)
