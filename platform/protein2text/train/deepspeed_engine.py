"""DeepSpeed, and nothing else in the project imports it: split optimizer state, gradients and weights over workers.

The optimizer is torch's fused AdamW handed to DeepSpeed, so no step needs a compiler. DeepSpeed averages gradients over
workers and divides by its accumulation count; both are cancelled here, because the loss is normalized by the supervised
tokens of the whole global batch and micro-batches are as many as the plan says.
"""

import logging
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d as c10d

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
_no_mlflow = sys.modules.setdefault("mlflow", None) is None  # type: ignore[arg-type]  # its unused autotuner takes seconds to import it
import deepspeed  # noqa: E402  (reads DS_ACCELERATOR when it is imported)
import deepspeed.ops  # noqa: E402

if _no_mlflow:
    del sys.modules["mlflow"]
_compiled = os.environ.get("TORCHDYNAMO_DISABLE")
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # DeepSpeed imports Muon with every engine, which would load torch's compiler
import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: E402

del os.environ["TORCHDYNAMO_DISABLE"]
if _compiled is not None:
    os.environ["TORCHDYNAMO_DISABLE"] = _compiled
from deepspeed.utils import (  # noqa: E402
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
    safe_set_local_optimizer_state,
)

from protein2text.train.launch import engine_settings  # noqa: E402
from protein2text.train.stage_config import StageConfig  # noqa: E402

MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHTS = "weights"


class DeepSpeedEngine:
    """A model, its AdamW and its share of the state, on one worker.

    Every method is a collective: all workers call the same ones in the same order.
    """

    def __init__(
        self, model: nn.Module, *, config: StageConfig, zero_stage: int, device: torch.device, offload: bool = False
    ) -> None:
        """Wrap a model whose weights and ``requires_grad`` are final; the process group exists already.

        Args:
            offload: keep AdamW's state and the weights that it updates in host memory.
        """
        self.parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        _quiet()
        initialize_communication()
        self.device = device
        self._num_workers = dist.get_world_size()
        self._zero_stage = zero_stage
        model.to(device)
        groups = parameter_groups(self.parameters, config.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=0.0, betas=config.betas, fused=True)
        num_trained = sum(parameter.numel() for parameter in self.parameters.values())
        settings = engine_settings(
            num_trained, config, zero_stage=zero_stage, offload=offload, on_gpu=device.type == "cuda"
        )
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=self._optimizer, config=settings)
        _share_timeout(device)
        self._create_moments()

    @property
    def module(self) -> nn.Module:
        module: nn.Module = self._engine.module
        return module

    def forward(self, batch: Any) -> Tensor:
        """The model's loss, summed over supervised tokens, as a scalar."""
        loss: Tensor = self._engine(batch)
        return loss

    @torch.no_grad()
    def token_losses(self, batch: Any) -> Tensor:
        """The model's loss of each supervised token, without dropout."""
        self._engine.eval()
        losses: Tensor = self.module(batch, reduction="none")
        self._engine.train()
        return losses

    def backward(self, loss_sum: Tensor, *, weight: float, last: bool) -> None:
        """Add ``weight x`` the gradient of a micro-batch's summed loss.

        Args:
            weight: one over the supervised tokens of the global batch; 0 for a filler.
            last: this micro-batch completes the step.
        """
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss_sum * (weight * self._num_workers))

    def step(self, learning_rate: float) -> Tensor:
        """Clip, update the weights, clear the gradients.

        Returns:
            Global L2 norm of the gradient before clipping, a scalar; DeepSpeed itself waits for the device here.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._zero_stage == 0:
            gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            self._engine.step()
        else:
            self._engine.step()
            norm = self._engine.get_global_grad_norm()
        return torch.as_tensor(norm)

    def full_state(self) -> dict[str, dict[str, Tensor]]:
        """Float32 ``weights`` and Adam's moments of every trainable parameter by name, whole, on every worker's CPU."""
        weights = {
            name: safe_get_full_fp32_param(parameter) if self._zero_stage else parameter
            for name, parameter in self.parameters.items()
        }
        state = {WEIGHTS: weights} | {
            moment: {name: self._moment(parameter, moment) for name, parameter in self.parameters.items()}
            for moment in MOMENTS
        }
        return {part: {name: _copied(value) for name, value in values.items()} for part, values in state.items()}

    def load_moments(self, state: Mapping[str, Mapping[str, Tensor]], num_steps: int) -> None:
        """Restore Adam's moments and step count; the weights were loaded into the model before it was wrapped."""
        for slot in self._slots():
            slot["step"].fill_(float(num_steps))
        for moment in MOMENTS:
            for name, parameter in self.parameters.items():
                self._set_moment(parameter, moment, state[moment][name].to(parameter.device))

    def _create_moments(self) -> None:
        """Zero moments at step zero, so that they can be saved before the first step and restored before it.

        DeepSpeed would make them during the first step, and then link those of the first parameter group only.
        """
        for slot, flat in zip(self._slots(), self._flat_parameters(), strict=True):
            slot["step"] = torch.tensor(0.0, device=flat.device)
            slot.update({moment: torch.zeros_like(flat, requires_grad=False) for moment in MOMENTS})
        if self._zero_stage in (1, 2):
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _flat_parameters(self) -> list[Tensor]:
        """The float32 tensors that this worker's AdamW updates."""
        if self._zero_stage == 0:
            return list(self.parameters.values())
        kept_in = "fp32_partitioned_groups_flat" if self._zero_stage == 3 else "single_partition_of_fp32_groups"
        flat: list[Tensor] = getattr(self._engine.optimizer, kept_in)
        return flat

    def _slots(self) -> list[dict[str, Tensor]]:
        return [self._optimizer.state[flat] for flat in self._flat_parameters()]

    def _moment(self, parameter: nn.Parameter, moment: str) -> Tensor:
        if self._zero_stage == 0:
            value: Tensor = self._optimizer.state[parameter][moment]
        else:
            value = safe_get_full_optimizer_state(parameter, moment)
        return value

    def _set_moment(self, parameter: nn.Parameter, moment: str, value: Tensor) -> None:
        if self._zero_stage == 0:
            self._optimizer.state[parameter][moment].copy_(value)
        elif self._zero_stage == 3:
            length = math.ceil(value.numel() / self._num_workers)
            padded = value.new_zeros(length * self._num_workers)
            padded[: value.numel()] = value.flatten()
            safe_set_local_optimizer_state(parameter, padded[length * dist.get_rank() :][:length], moment)
        else:
            safe_set_full_optimizer_state(parameter, value, moment)


def initialize_communication() -> None:
    """Let DeepSpeed use the existing process group, without compiling its shared-memory operator."""
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_init_required=False, verbose=False)


def _share_timeout(device: torch.device) -> None:
    """Give DeepSpeed's process groups the timeout of the default one: torch gives a new group its own, half an hour, in
    which a worker that hangs would not be found."""
    timeout = c10d._get_default_group()._get_backend(device).options._timeout
    for group in list(c10d._world.pg_map):
        c10d._set_pg_timeout(timeout, group)


def parameter_groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, vectors (biases, norms) do not, as in the published trainer; one group when nothing decays."""
    if not weight_decay:
        return [{"params": list(parameters.values()), "weight_decay": 0.0}]
    matrices = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters.values() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _copied(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float32, copy=True)


def _quiet() -> None:
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
