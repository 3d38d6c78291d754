"""Plain form of `ragged_cross_attention`: the oracle, and the path of every machine without a kernel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def ragged_cross_attention(
    queries_BKHC: Tensor, latent_keys_BKHC: Tensor, latent_values_BKHC: Tensor, residue_keys_SHC: Tensor,
    residue_values_SHC: Tensor, lengths: Sequence[int], scale: float,
) -> Tensor:  # fmt: skip
    """See the public function."""
    residue_keys = torch.split(residue_keys_SHC.transpose(0, 1), list(lengths), dim=1)
    residue_values = torch.split(residue_values_SHC.transpose(0, 1), list(lengths), dim=1)
    outputs = []
    for protein in range(len(lengths)):
        keys = torch.cat((residue_keys[protein], latent_keys_BKHC[protein].transpose(0, 1)), dim=1)
        values = torch.cat((residue_values[protein], latent_values_BKHC[protein].transpose(0, 1)), dim=1)
        queries = queries_BKHC[protein].transpose(0, 1)
        outputs.append(F.scaled_dot_product_attention(queries[None], keys[None], values[None], scale=scale)[0])
    return torch.stack(outputs).transpose(1, 2)
