"""How a stage is put on a cluster: what Ray Train, torch and NCCL are told, as data.

``run`` hands these to Ray; ``protein2text train --resolve`` prints them, and needs neither weights nor a cluster. Each
setting says why it is there.
"""

from dataclasses import dataclass
from typing import Any

from protein2text.train.stage_config import ScalingConfig, StageConfig

WORKER_START_TIMEOUT_S = 30
"""Workers that cannot be placed are asked for again after this long, by then perhaps fewer; Ray's own limit is 60 s."""
HEALTH_CHECK_INTERVAL_S = 0.5
"""Ray's own 2 s would be the least time in which a lost worker is noticed."""
MAX_BUCKET_ELEMENTS = 50_000_000
"""Gradient elements reduced at once; DeepSpeed's own default reserves 2 GB of float32 for it."""

NCCL_ENVIRONMENT = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "NCCL_DEBUG": "WARN",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}
"""What GPU workers are started with, beside what their node's environment holds.

| variable | why |
|---|---|
| TORCH_NCCL_ASYNC_ERROR_HANDLING=1 | a collective past its timeout ends its worker, so that Ray restarts the run |
| NCCL_DEBUG=WARN | NCCL names the failing call and peer in the worker's log; its own default says nothing |
| PYTORCH_ALLOC_CONF | micro-batches differ in size, and fixed segments would fragment the memory that they share |

The network interface is left to the user: set NCCL_SOCKET_IFNAME or NCCL_IB_HCA on each node before `ray start`.
"""


@dataclass(frozen=True)
class Launch:
    """Arguments of Ray Train's configurations, and environments, each as a plain mapping."""

    scaling_config: dict[str, Any]
    torch_config: dict[str, Any]
    failure_config: dict[str, Any]
    controller_environment: dict[str, str]
    """Set in the driver while Ray starts the workers, unless set already; Ray hands them to its controller."""
    worker_environment: dict[str, str]


def launch(scaling: ScalingConfig) -> Launch:
    """What Ray Train is told about a run's workers."""
    on_gpu = bool(scaling.gpus_per_worker)
    resources = {"CPU": scaling.cpus_per_worker} | ({"GPU": scaling.gpus_per_worker} if on_gpu else {})
    return Launch(
        scaling_config={
            "num_workers": scaling.num_workers,
            "use_gpu": on_gpu,
            "resources_per_worker": resources,
            "placement_strategy": scaling.placement_strategy,
        },
        torch_config={"backend": "nccl" if on_gpu else "gloo", "timeout_s": scaling.hang_timeout_s},
        failure_config={"max_failures": scaling.max_restarts},
        controller_environment={
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(HEALTH_CHECK_INTERVAL_S),
            "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(scaling.hang_timeout_s),
            "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": str(scaling.hang_timeout_s),
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(WORKER_START_TIMEOUT_S),
        },
        worker_environment=NCCL_ENVIRONMENT if on_gpu else {},
    )


def engine_settings(
    num_trained: int, config: StageConfig, *, zero_stage: int, offload: bool, on_gpu: bool
) -> dict[str, Any]:
    """DeepSpeed's configuration. Its mixed precision stays off: autocast computes, weights and state are float32.

    Offloaded state is updated by the same AdamW, torch's, on the CPU. DeepSpeed would rather have its own, which needs
    a compiler where training starts.

    Args:
        num_trained: elements of the parameters that train.
    """
    offloading = {"offload_optimizer": {"device": "cpu", "pin_memory": on_gpu}} if offload else {}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.max_grad_norm,
        "steps_per_print": None,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": zero_stage,
            "reduce_bucket_size": min(num_trained, MAX_BUCKET_ELEMENTS),
            "overlap_comm": on_gpu,
            **offloading,
        },
    }
