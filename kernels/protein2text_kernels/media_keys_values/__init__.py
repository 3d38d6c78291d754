"""Keys and values of the residues for all layers of the resampler at once, by library products alone."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from protein2text_kernels.media_keys_values import naive


class Layer(NamedTuple):
    """What one layer of the resampler does to the residues: its media norm and its projection to keys and values."""

    weight_E: Tensor
    shift_E: Tensor
    to_kv_FE: Tensor


def media_keys_values(
    states_SE: Tensor, position_E: Tensor, layers: Sequence[Layer], *, eps: float
) -> tuple[Tensor, ...]:
    """``layer_norm(states + position) @ to_kv.T`` of each layer.

    All layers normalize the same rows, so that is done once; each norm's affine part is folded into its projection, and
    the projections are stacked into one product. The position's gradient comes from row sums, without the states'
    gradient, which is computed only if the states ask for it.

    Args:
        states_SE: ``(S, E)`` residue states, any float dtype.
        position_E: added to every row, ``(E,)``; zero for a resampler without one.
        layers: of each layer, in order; ``to_kv_FE`` has F rows.
        eps: of the norms.

    Returns:
        ``(S, F)`` for each layer, in autocast's dtype where it is on, else the weights'. They lie in one tensor, so
        their rows are strided.
    """
    device = states_SE.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else layers[0].to_kv_FE.dtype
    flat = [tensor for layer in layers for tensor in layer]
    found: tuple[Tensor, ...] = naive.MediaKeysValues.apply(states_SE, position_E, eps, dtype, *flat)  # type: ignore[no-untyped-call]
    return found
