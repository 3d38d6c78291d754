"""Hand-written backward passes have no second derivative, and say so."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def first_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a Function's ``backward`` raise where a graph of it is asked for (``create_graph=True``).

    torch's ``once_differentiable`` looks at the upstream gradient alone: where that is constant, as below a sum, it
    lets a second derivative lack what comes through the operands, without a word.
    """

    @wraps(backward)
    def checked(*arguments: Any) -> Any:
        if torch.is_grad_enabled():  # within a backward pass only if its graph is wanted
            raise RuntimeError(
                f"{backward.__qualname__} computes first derivatives only, and create_graph=True asks for second ones"
            )
        return backward(*arguments)

    return checked
