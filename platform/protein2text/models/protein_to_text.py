"""The model: frozen encoder, trained bridge, decoder with LoRA.

Legend: L decoder rows of all proteins end to end, E encoder width, D decoder width, T packed tokens,
M supervised tokens, V vocabulary.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protein2text.errors import RecordError
from protein2text.models import reference_arithmetic
from protein2text.models.asking import TextAnswer, answer_questions, describe, residues_of
from protein2text.models.attribution import Attribution, attribute
from protein2text.models.batches import Batch, ProteinBatch, TextBatch, pack_proteins, pack_text
from protein2text.models.bridge import Bridge, CrossAttention, Resampler
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example, Tokenizer, encode_prompt, question_messages
from protein2text.models.compatibility import PUBLISHED_DECODING, encode_published_prompt, published_config
from protein2text.models.decoder import Decoder
from protein2text.models.encoders import build_encoder, reading_of
from protein2text.models.fused_loss import fused_cross_entropy
from protein2text.models.generation import Decoding, generate
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import ModelConfig
from protein2text.models.model_folder import read_model, write_model
from protein2text.models.processor import Processor
from protein2text.models.splicing import decoder_inputs

logger = logging.getLogger(__name__)

Stage = Literal["alignment", "instruction"]


class ProteinToText(nn.Module):
    """Answers questions about proteins from their sequences (Protein2Text, NAACL 2025).

    ``fused_loss`` takes the loss from hidden states, see `fused_loss`; training sets it where `use_liger` says so.
    """

    fused_loss = False

    def __init__(self, config: ModelConfig, *, compat: bool = False) -> None:
        """Load the frozen bases; the bridge starts random, so seed torch first."""
        super().__init__()
        self.config = config = published_config(config) if compat else config
        self.compat = compat
        self.encoder: Any = build_encoder(config.encoder)
        self.decoder = Decoder(config.decoder, compat=compat)
        self.bridge = Bridge(config.bridge, self.encoder.width, self.decoder.width)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.decoder.tokenizer

    @property
    def reading(self) -> Reading:
        """How sequences become the encoder's input; `pack` and `pack_proteins` take it."""
        return replace(reading_of(self.config), row_bytes=self.encoder.row_bytes)

    @property
    def device(self) -> torch.device:
        return next(self.bridge.parameters()).device

    def set_stage(self, stage: Stage) -> None:
        """Choose what trains: the bridge in alignment, the bridge and LoRA in instruction tuning.

        What trains is float32 whatever the base is: peft makes adapters in the base's dtype, and a bfloat16 weight
        would swallow the updates of a small learning rate.
        """
        self.requires_grad_(False)
        self.bridge.requires_grad_(True)
        if stage == "instruction":
            self.decoder.add_lora()
            for name, parameter in self.decoder.named_parameters():
                if "lora_" in name:
                    parameter.data = parameter.data.float()
                    parameter.requires_grad_(True)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Parameters of the current stage by name, in a stable order."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def protein_rows(self, proteins: ProteinBatch) -> Tensor:
        """Decoder rows of a batch's proteins before any question, ``(L, D)``; `BridgeConfig.num_rows` of each."""
        rows_LD: Tensor = self.bridge(self.encoder(proteins), proteins)
        return rows_LD

    def splice(self, rows_LD: Tensor, text: TextBatch) -> Tensor:
        """The decoder's inputs, ``(T, D)``: token embeddings with the proteins' rows in place."""
        return decoder_inputs(self.decoder.language_model.get_input_embeddings(), self.bridge, rows_LD, text)

    def logits(self, batch: Batch) -> Tensor:
        """Next-token logits on the supervised rows, ``(M, V)``."""
        return self.decoder.logits(self.splice(self.protein_rows(batch.proteins), batch.text), batch.text)

    def forward(self, batch: Batch, reduction: Literal["sum", "none"] = "sum") -> Tensor:
        """Cross-entropy of the batch's supervised tokens, nats, float32: its sum, or ``(M,)`` with ``none``."""
        if self.fused_loss and reduction == "sum":
            inputs_TD = self.splice(self.protein_rows(batch.proteins), batch.text)
            hidden_MD, head = self.decoder.hidden(inputs_TD, batch.text), self.decoder.head
            return fused_cross_entropy(hidden_MD, head, batch.text.labels_M)
        logits_MV = self.logits(batch)
        return F.cross_entropy(logits_MV.float(), batch.text.labels_M, reduction=reduction)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], proteins: Sequence[Sequence[str]], settings: Decoding | None = None
    ) -> list[str]:
        """Answer a batch of encoded prompts, see `processor` and `encode_question` for making them.

        Args:
            prompts: ids with one ``PROTEIN_ID`` per protein.
            proteins: for each prompt, its proteins' sequences; each distinct sequence is encoded once.

        Raises:
            RecordError: a prompt whose placeholders and proteins differ in number.
        """
        return [self.decoder.text_of(ids) for ids in self.answer_ids(prompts, proteins, settings or self.decoding)]

    @torch.inference_mode()
    def answer_ids(
        self, prompts: Sequence[Sequence[int]], proteins: Sequence[Sequence[str]], settings: Decoding
    ) -> list[list[int]]:
        """Token ids of answers without their end tokens, see `generate`."""
        for number, (prompt, group) in enumerate(zip(prompts, proteins, strict=True)):
            if list(prompt).count(PROTEIN_ID) != len(group):
                raise RecordError(
                    f"prompt {number}", "proteins", f"{len(group)} proteins",
                    f"{list(prompt).count(PROTEIN_ID)} placeholders",
                    "Give one protein per placeholder.",
                )  # fmt: skip
        bank = self.latent_bank({sequence for group in proteins for sequence in group})
        embedded = [
            self.embed_prompt(prompt, [bank[sequence] for sequence in group])
            for prompt, group in zip(prompts, proteins, strict=True)
        ]
        return generate(self.decoder, embedded, settings)

    def latent_bank(self, sequences: set[str]) -> dict[str, Tensor]:
        """Decoder rows of each distinct sequence before any question, ``(rows, D)``, from one packed forward."""
        if not sequences:
            return {}
        ordered = sorted(sequences, key=lambda sequence: (-len(sequence), sequence))
        for read in (describe(self.reading, len(sequence)) for sequence in ordered):
            if read.beyond_training_length:
                logger.info("beyond the encoder's training length: %s", read)
        rows_LD = self.protein_rows(pack_proteins(ordered, self.reading).to(self.device))
        num_rows = [self.config.bridge.num_rows(len(sequence)) for sequence in ordered]
        return dict(zip(ordered, torch.split(rows_LD, num_rows), strict=True))

    def embed_prompt(self, prompt: Sequence[int], latents: Sequence[Tensor]) -> Tensor:
        """The decoder's inputs ``(T, D)`` for a prompt, with the rows of its proteins as `latent_bank` gives them."""
        unanswered = Example(list(prompt), [IGNORED] * len(prompt))
        text = pack_text([unanswered], [range(len(latents))], [len(rows) for rows in latents])
        rows_LD = torch.cat(list(latents)) if latents else torch.empty(0, self.decoder.width, device=self.device)
        return self.splice(rows_LD, text.to(self.device))

    @overload
    def ask(  # type: ignore[overload-overlap]  # a str is a sequence of str too; the first that fits is taken
        self, proteins: str, questions: str, settings: Decoding | None = None, *, batch_size: int = ...
    ) -> TextAnswer: ...

    @overload
    def ask(
        self, proteins: str | Sequence[str | Sequence[str]], questions: str | Sequence[str],
        settings: Decoding | None = None, *, batch_size: int = ...,
    ) -> list[TextAnswer]: ...  # fmt: skip

    @torch.inference_mode()
    def ask(
        self, proteins: str | Sequence[str | Sequence[str]], questions: str | Sequence[str],
        settings: Decoding | None = None, *, batch_size: int = 16,
    ) -> TextAnswer | list[TextAnswer]:  # fmt: skip
        """Answer questions about proteins.

        Args:
            proteins: a sequence or FASTA record, or a list; an item that is itself a list are the proteins of one
                question. One protein serves all questions, one question all proteins; two lists are paired.
            settings: by default the model's own, greedy for models trained here.
            batch_size: questions answered together; greedy answers do not depend on it.

        Returns:
            One answer for two strings, otherwise a list in the order given.

        Raises:
            RecordError: what cannot be read, paired or is refused for its length, by its place in the list.
        """
        answers = answer_questions(self, proteins, questions, settings or self.decoding, batch_size)
        return answers[0] if isinstance(proteins, str) and isinstance(questions, str) else answers

    @overload
    def latents(self, proteins: str) -> Tensor: ...  # type: ignore[overload-overlap]

    @overload
    def latents(self, proteins: Sequence[str]) -> list[Tensor]: ...

    @torch.inference_mode()
    def latents(self, proteins: str | Sequence[str]) -> Tensor | list[Tensor]:
        """What the decoder gets for proteins before any question: ``(rows, D)`` each, `BridgeConfig.num_rows` rows.

        Args:
            proteins: a sequence or FASTA record, or a list of them, encoded in one packed forward.
        """
        texts = [proteins] if isinstance(proteins, str) else proteins
        sequences = [residues_of(text, self.reading, f"proteins[{number}]") for number, text in enumerate(texts)]
        bank = self.latent_bank(set(sequences))
        rows = [bank[sequence] for sequence in sequences]
        return rows[0] if isinstance(proteins, str) else rows

    def attribution(self, protein: str, question: str, answer: str | None = None) -> Attribution:
        """Which residues an answer rests on, see `attribution`."""
        return attribute(self, protein, question, answer)

    @property
    def processor(self) -> Processor:
        """Makes inputs for ``generate`` from proteins and messages, in the calling shape of transformers' Evolla."""
        return Processor(self)

    def encode_question(self, question: str, num_proteins: int) -> list[int]:
        """Prompt ids in the model's own form, one ``PROTEIN_ID`` per protein.

        Raises:
            RecordError: in compatibility mode, more or less than one protein.
        """
        if self.compat:
            return encode_published_prompt(self.tokenizer, question, num_proteins)
        return encode_prompt(self.tokenizer, question_messages(question, num_proteins))

    @property
    def decoding(self) -> Decoding:
        """How answers are drawn unless told otherwise."""
        return PUBLISHED_DECODING if self.compat else Decoding()

    def save_pretrained(self, folder: str | Path, run: dict[str, Any] | None = None) -> None:
        """Write a model folder, see `model_folder`."""
        write_model(self, Path(folder), run)

    def bridge_state(self) -> dict[str, Tensor]:
        """The bridge by its published names."""
        state: dict[str, Tensor] = self.bridge.state_dict()
        return state

    def settle(self, bridge: dict[str, Tensor], lora: dict[str, Tensor]) -> None:
        """Take the tensors of a model folder; in compatibility mode the bridge goes through half precision too."""
        if self.compat:
            bridge = {name: tensor.half().bfloat16() for name, tensor in bridge.items()}
        self.bridge.load_state_dict(bridge)
        self.decoder.settle(lora)
        if self.compat:
            self.bridge.bfloat16()
            self.encoder.as_reference = True
            for module in self.bridge.modules():
                if isinstance(module, Resampler):
                    module.read_media = reference_arithmetic.media_keys_values
                if isinstance(module, CrossAttention):
                    module.attend = reference_arithmetic.ragged_cross_attention

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, compat: bool = False, base: str | None = None, encoder: str | None = None,
        verify_bases: bool = True,
    ) -> Self:  # fmt: skip
        """Load a model folder after checking every byte of it, and of the bases it was trained on.

        Args:
            compat: ask and compute as the published checkpoint's reference does, see `compatibility`.
            base: where the decoder lies now, if not where it was; ``encoder`` likewise. They must be the same files.
            verify_bases: compare the bases' contents with their sums.

        Raises:
            MissingFile: no such folder.
            CorruptCheckpoint: the folder or a base differs from what was saved.
            MissingWeights: a base cannot be found.
        """
        model = read_model(cls, Path(folder), compat=compat, base=base, encoder=encoder, verify_bases=verify_bases)
        assert isinstance(model, cls)
        return model
