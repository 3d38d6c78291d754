"""The model: frozen encoder, trained bridge, decoder with LoRA.

Legend: L decoder rows of all proteins end to end, E encoder width, D decoder width, T packed tokens,
M supervised tokens, V vocabulary.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from protein2text.errors import CorruptCheckpoint, RecordError
from protein2text.models.batches import Batch, ProteinBatch, TextBatch, pack_proteins, pack_text
from protein2text.models.bridge import Bridge
from protein2text.models.chat import IGNORED, PROTEIN_ID, Example, Tokenizer, encode_prompt, question_messages
from protein2text.models.checkpoints import sha256_of, verify_manifest, write_manifest
from protein2text.models.decoder import Decoder
from protein2text.models.encoder_weights import load_encoder
from protein2text.models.generation import Decoding, generate
from protein2text.models.model_config import ModelConfig
from protein2text.models.sources import resolve_source

Stage = Literal["alignment", "instruction"]


class ProteinToText(nn.Module):
    """Answers questions about proteins from their sequences (Protein2Text, NAACL 2025)."""

    def __init__(self, config: ModelConfig) -> None:
        """Load the frozen bases; the bridge starts random, so seed torch first."""
        super().__init__()
        self.config = config
        self.encoder = load_encoder(config.encoder)
        self.decoder = Decoder(config.decoder)
        self.bridge = Bridge(config.bridge, self.encoder.shape.width, self.decoder.width)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.decoder.tokenizer

    @property
    def device(self) -> torch.device:
        return next(self.bridge.parameters()).device

    def set_stage(self, stage: Stage) -> None:
        """Choose what trains: the bridge in alignment, the bridge and LoRA in instruction tuning."""
        self.requires_grad_(False)
        self.bridge.requires_grad_(True)
        if stage == "instruction":
            self.decoder.add_lora()
            for name, parameter in self.decoder.named_parameters():
                parameter.requires_grad_("lora_" in name)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Parameters of the current stage by name, in a stable order."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def protein_rows(self, proteins: ProteinBatch) -> Tensor:
        """Decoder rows of a batch's proteins before any question, ``(L, D)``; `BridgeConfig.num_rows` of each."""
        rows_LD: Tensor = self.bridge(self.encoder(proteins), proteins)
        return rows_LD

    def splice(self, rows_LD: Tensor, text: TextBatch) -> Tensor:
        """The decoder's inputs, ``(T, D)``: token embeddings with the proteins' rows in place."""
        embeddings_TD = self.decoder.embed(text.ids_T)
        rows_PD = self.bridge.read_question(rows_LD[text.protein_sources_P], embeddings_TD, text)
        return embeddings_TD.index_copy(0, text.protein_rows_P, rows_PD.to(embeddings_TD.dtype))

    def logits(self, batch: Batch) -> Tensor:
        """Next-token logits on the supervised rows, ``(M, V)``."""
        return self.decoder.logits(self.splice(self.protein_rows(batch.proteins), batch.text), batch.text)

    def forward(self, batch: Batch) -> Tensor:
        """Sum of the cross-entropy over the batch's supervised tokens, nats, a float32 scalar."""
        logits_MV = self.logits(batch)
        return F.cross_entropy(logits_MV.float(), batch.text.labels_M, reduction="sum")

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], proteins: Sequence[Sequence[str]], settings: Decoding | None = None
    ) -> list[str]:
        """Answer a batch of encoded prompts.

        Args:
            prompts: ids with one ``PROTEIN_ID`` per protein, from `encode_prompt`.
            proteins: for each prompt, its proteins' sequences; each distinct sequence is encoded once.

        Raises:
            RecordError: a prompt whose placeholders and proteins differ in number.
        """
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
        answers = generate(self.decoder, embedded, settings or Decoding())
        return [self.tokenizer.decode(answer, skip_special_tokens=True).strip() for answer in answers]

    def latent_bank(self, sequences: set[str]) -> dict[str, Tensor]:
        """Decoder rows of each distinct sequence before any question, ``(rows, D)``, from one packed forward."""
        if not sequences:
            return {}
        ordered = sorted(sequences, key=lambda sequence: (-len(sequence), sequence))
        rows_LD = self.protein_rows(pack_proteins(ordered).to(self.device))
        num_rows = [self.config.bridge.num_rows(len(sequence)) for sequence in ordered]
        return dict(zip(ordered, torch.split(rows_LD, num_rows), strict=True))

    def embed_prompt(self, prompt: Sequence[int], latents: Sequence[Tensor]) -> Tensor:
        """The decoder's inputs ``(T, D)`` for a prompt, with the rows of its proteins as `latent_bank` gives them."""
        unanswered = Example(list(prompt), [IGNORED] * len(prompt))
        text = pack_text([unanswered], [range(len(latents))], [len(rows) for rows in latents])
        rows_LD = torch.cat(list(latents)) if latents else torch.empty(0, self.decoder.width, device=self.device)
        return self.splice(rows_LD, text.to(self.device))

    def ask(self, proteins: Sequence[str], question: str, settings: Decoding | None = None) -> str:
        """Answer one question about one or more sequences."""
        prompt = encode_prompt(self.tokenizer, question_messages(question, len(proteins)))
        return self.generate([prompt], [proteins], settings)[0]

    def save_pretrained(self, folder: str | Path, run: dict[str, Any] | None = None) -> None:
        """Write a model folder: bridge and LoRA as safetensors, configuration, sums of the bases, manifest last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_contiguous(self.bridge_state()), folder / "bridge.safetensors")
        if self.decoder.has_lora:
            save_file(_contiguous(self.decoder.lora_state()), folder / "lora.safetensors")
        (folder / "config.json").write_text(self.config.model_dump_json(indent=2))
        (folder / "bases.json").write_text(json.dumps(base_sums(self.config), indent=2))
        if run is not None:
            (folder / "run.json").write_text(json.dumps(run, indent=2))
        write_manifest(folder)

    def bridge_state(self) -> dict[str, Tensor]:
        """The bridge by its published names."""
        state: dict[str, Tensor] = self.bridge.state_dict()
        return state

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, verify_bases: bool = True) -> Self:
        """Load a model folder after checking every byte of it, and of the bases it was trained on.

        Raises:
            MissingFile: no such folder.
            CorruptCheckpoint: the folder or a base differs from what was saved.
            MissingWeights: a base cannot be found.
        """
        folder = Path(folder)
        verify_manifest(folder)
        config = ModelConfig.parse(json.loads((folder / "config.json").read_text()), path=str(folder / "config.json"))
        if verify_bases and (
            changed := _changed_base(json.loads((folder / "bases.json").read_text()), base_sums(config))
        ):
            raise CorruptCheckpoint(
                str(folder), "bases.json", f"base weights differ: {changed}", "Restore the bases it was trained on."
            )
        model = cls(config)
        state = load_file(folder / "bridge.safetensors")
        wanted = model.bridge_state()
        if {name: tensor.shape for name, tensor in state.items()} != {
            name: tensor.shape for name, tensor in wanted.items()
        }:
            raise CorruptCheckpoint(
                str(folder), "bridge.safetensors", "tensors do not fit config.json", "Save the model again."
            )
        model.bridge.load_state_dict(state)
        if (folder / "lora.safetensors").is_file():
            model.decoder.load_lora(load_file(folder / "lora.safetensors"))
        return model.requires_grad_(False).eval()


def base_sums(config: ModelConfig) -> dict[str, dict[str, str]]:
    """SHA-256 of every weight and tokenizer file of the two bases."""
    sums = {}
    for part, base in (("encoder", config.encoder), ("decoder", config.decoder)):
        path = resolve_source(base.source, base.revision)
        files = (
            [path]
            if path.is_file()
            else sorted(file for file in path.iterdir() if file.suffix in {".safetensors", ".json", ".txt", ".jinja"})
        )
        sums[part] = {file.name: sha256_of(file) for file in files}
    return sums


def _changed_base(saved: dict[str, dict[str, str]], present: dict[str, dict[str, str]]) -> str:
    odd = [
        f"{part}/{name}"
        for part in saved
        for name in saved[part]
        if present.get(part, {}).get(name) != saved[part][name]
    ]
    return ", ".join(odd[:3])


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
