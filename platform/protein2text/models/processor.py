"""Inputs for ``generate`` in the calling shape of transformers' Evolla: proteins and messages, side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from protein2text.errors import RecordError
from protein2text.models.asking import residues_of

if TYPE_CHECKING:
    from protein2text.models.protein_to_text import ProteinToText

SEQUENCE = "aa_seq"


class Processor:
    """Makes ``generate``'s inputs::

        inputs = model.processor(proteins=[{"aa_seq": "MKV..."}], messages_list=[[{"role": "user", "content": "..."}]])
        texts = model.generate(**inputs)

    A protein may be the sequence itself, and a list of such for several in one prompt.
    """

    def __init__(self, model: "ProteinToText") -> None:
        self._model = model

    def __call__(
        self, proteins: Any, messages_list: Sequence[Mapping[str, str]] | Sequence[Sequence[Mapping[str, str]]]
    ) -> dict[str, Any]:
        """Encoded prompts and checked sequences.

        Args:
            proteins: one per exchange: ``{"aa_seq": ...}``, a sequence or FASTA record, or a list of these.
            messages_list: per protein one exchange, which is one user's message, as in training.

        Returns:
            ``prompts`` and ``proteins``, the arguments of ``ProteinToText.generate``.

        Raises:
            RecordError: what cannot be read or paired, by its place.
        """
        groups = [proteins] if isinstance(proteins, str | Mapping) else list(proteins)
        exchanges: list[Any] = list(messages_list)
        if exchanges and isinstance(exchanges[0], Mapping):
            exchanges = [exchanges]
        if len(groups) != len(exchanges):
            value = f"{len(groups)} proteins, {len(exchanges)} exchanges"
            raise RecordError("processor", "messages_list", value, "one exchange per protein", "Pair them.")
        prompts, sequences = [], []
        for number, (group, messages) in enumerate(zip(groups, exchanges, strict=True)):
            members = [group] if isinstance(group, str | Mapping) else list(group)
            sequences.append([self._sequence(member, f"proteins[{number}]") for member in members])
            prompts.append(self._model.encode_question(_question(messages, number), len(members)))
        return {"prompts": prompts, "proteins": sequences}

    def _sequence(self, protein: str | Mapping[str, str], record: str) -> str:
        if isinstance(protein, Mapping):
            if set(protein) != {SEQUENCE}:
                limit = f"this model's encoder reads {SEQUENCE} alone"
                raise RecordError(record, "keys", ", ".join(sorted(protein)) or "none", limit, "Leave the rest out.")
            protein = protein[SEQUENCE]
        return residues_of(protein, self._model.reading, record)


def _question(messages: Sequence[Mapping[str, str]], number: int) -> str:
    roles = [message.get("role") for message in messages]
    if roles != ["user"]:
        limit = "one message of the user, as in training"
        raise RecordError(f"messages_list[{number}]", "roles", str(roles), limit, "Put all into that message.")
    return messages[0]["content"]
