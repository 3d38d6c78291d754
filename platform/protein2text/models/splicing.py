"""The decoder's input: token embeddings with the rows of proteins in their places.

Legend: L decoder rows of all proteins end to end, D decoder width, T packed tokens, V vocabulary.
"""

from torch import Tensor, nn

from protein2text.models.batches import TextBatch
from protein2text.models.bridge import Bridge
from protein2text_kernels.splice import splice
from protein2text_kernels.splice.plan import Plan


def decoder_inputs(embedding: nn.Module, bridge: Bridge, rows_LD: Tensor, text: TextBatch) -> Tensor:
    """What the decoder reads, ``(T, D)`` in its embeddings' dtype.

    Args:
        embedding: the decoder's module that embeds tokens.
        bridge: a gated one reads each example's question here, after which an example's rows are its own.
        rows_LD: as `Bridge.forward` gives them.
    """
    words_VD, plan = _words(embedding, text)
    if bridge.reads_question:
        rows_LD = bridge.read_question(rows_LD[text.protein_sources_P], embedding(text.ids_T), text)
        plan = plan.with_own_rows(text.protein_rows_P)
    return splice(words_VD, rows_LD, plan)


def _words(embedding: nn.Module, text: TextBatch) -> tuple[Tensor, Plan]:
    """The table, or what the module makes of the tokens: where it does more than look up, or where DeepSpeed may hold
    the table in parts (ZeRO-3, whose parameters have a ``ds_id``) and joins them only for the module's own forward.
    """
    if type(embedding) is nn.Embedding:
        (table_VD,) = embedding.parameters(recurse=False)  # by its name, DeepSpeed would gather it for good
        if not hasattr(table_VD, "ds_id"):
            return table_VD, text.splice
    return embedding(text.ids_T), text.splice.with_own_words()
