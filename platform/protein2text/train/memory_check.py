"""Before a stage starts: what it needs of each device, beside what there is."""

import os

import ray

from protein2text.config import RunConfig
from protein2text.errors import ResourcesUnavailable
from protein2text.resources import fewest
from protein2text.train.memory_estimate import FLOAT32, MemoryEstimate, estimate, full_micro_batch, size
from protein2text.train.plan import Plan
from protein2text.train.skeleton import skeleton
from protein2text.train.stage_config import ScalingConfig, Stage


def device_bytes(scaling: ScalingConfig) -> int:
    """Memory of the device that a worker gets: a GPU of the cluster, or its part of a node's memory.

    Nodes are taken to be as this one, and to share the fewest workers that there may be.
    """
    if not scaling.gpus_per_worker:
        num_nodes = sum(node["Alive"] for node in ray.nodes()) if ray.is_initialized() else 1
        on_a_node = -(-fewest(scaling) // num_nodes)
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // on_a_node
    on_gpu = ray.remote(num_cpus=0, num_gpus=scaling.gpus_per_worker)(_gpu_bytes)
    held: int = ray.get(on_gpu.remote())
    return int(held * min(1.0, scaling.gpus_per_worker))


def _gpu_bytes() -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def expected_memory(config: RunConfig, stage: Stage, plan: Plan) -> MemoryEstimate:
    """The estimate for micro-batches at their bounds, filled with the plan's usual records."""
    mean = sum(record.num_tokens for record in plan.records) / len(plan.records)
    return estimate(config, stage, full_micro_batch(config, stage, mean))


def check_memory(config: RunConfig, stage: Stage, plan: Plan) -> list[str]:
    """What a stage needs, in sentences to be told before it starts.

    Raises:
        ResourcesUnavailable: weights, gradients and optimizer, which are exact, exceed the device. What activations
            take is an estimate, and only warned of.
    """
    scaling = config.scaling
    device = "GPU" if scaling.gpus_per_worker else "worker"
    expected, held = expected_memory(config, stage, plan), device_bytes(scaling)
    if expected.fixed > held:
        needed = f"{size(expected.fixed)} per {device} for weights, gradients and optimizer alone"
        raise ResourcesUnavailable(needed, f"{size(held)} per {device}", f"To make it fit, {expected.advice}.")
    sentences = [expected.sentence(held, device)]
    if scaling.offload_optimizer:
        trained = sum(count.trained for count in skeleton(config.model, stage).counts().values())
        on_host = size(3 * FLOAT32 * trained // fewest(scaling))
        sentences.append(
            f"AdamW's state, {on_host} per worker, is kept and updated in host memory, by torch's own AdamW: no "
            f"compiler is needed"
        )
    return sentences
