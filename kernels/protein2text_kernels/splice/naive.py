"""Plain form of `splice`; its gradients are autograd's."""

import torch.nn.functional as F
from torch import Tensor

from protein2text_kernels.splice.plan import Plan


def splice(words_VD: Tensor, rows_LD: Tensor, plan: Plan) -> Tensor:
    """See the public function."""
    spliced_TD = F.embedding(plan.sources_T.clamp(min=0), words_VD)
    return spliced_TD.index_copy(0, plan.places_P.long(), rows_LD[plan.owners_P].to(words_VD.dtype))
