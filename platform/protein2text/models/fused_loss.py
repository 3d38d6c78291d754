"""Cross-entropy straight from hidden states, so that the logits of a micro-batch never lie in memory as a whole.

Liger-Kernel's fused linear cross-entropy (arXiv:2410.10989), where its package is installed: with 128,256 tokens of
vocabulary the logits of 4,000 supervised rows are 2 GB in float32, and their gradient as much again.

Legend: M supervised tokens, D decoder width, V vocabulary.
"""

import importlib.util
from typing import Literal

from torch import Tensor, nn

from protein2text.errors import ConfigError

LossKernel = Literal["auto", "torch", "liger"]

PLAIN_HEADS = ("llama", "mistral", "qwen2", "qwen3")
"""Decoders, as transformers calls them, whose logits are their head's product with the hidden states and nothing else:
no scale, no soft cap."""


def use_liger(wanted: LossKernel, *, device_type: str, model_type: str, zero_stage: int) -> bool:
    """Whether the fused loss is taken: ``auto`` takes it on a GPU where it is installed and fits.

    Raises:
        ConfigError: ``liger`` where it cannot be used, with the reason.
    """
    obstacles = {
        "it runs on CUDA only": device_type != "cuda",
        "it is not installed: pip install -e .[liger]": importlib.util.find_spec("liger_kernel") is None,
        f"a decoder of type {model_type} may do more than multiply by its head": model_type not in PLAIN_HEADS,
        "scaling.zero_stage 3 splits the decoder's head over the workers": zero_stage == 3,
    }
    found = [reason for reason, stands in obstacles.items() if stands]
    if wanted == "liger" and found:
        raise ConfigError("training", "loss_kernel", f"liger cannot be used: {found[0]}; set auto or torch")
    return wanted != "torch" and not found


def fused_cross_entropy(hidden_MD: Tensor, head: nn.Linear, labels_M: Tensor) -> Tensor:
    """Sum of the cross-entropy over supervised tokens, nats, a scalar.

    Args:
        hidden_MD: last hidden states of the supervised rows only.
        head: the decoder's output layer, ``(V, D)``.
        labels_M: their next tokens.
    """
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    loss: Tensor = liger_fused_linear_cross_entropy(
        hidden_MD.to(head.weight.dtype), head.weight, labels_M, head.bias, reduction="sum"
    )
    return loss
