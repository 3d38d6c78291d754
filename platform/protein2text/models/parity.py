"""Our model in compatibility mode beside what the reference implementation recorded, stage by stage.

Legend: K latents, D decoder width, V vocabulary, T prompt rows.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import DynamicCache

from protein2text.errors import CorruptCheckpoint, MissingFile
from protein2text.models.batches import pack_proteins
from protein2text.models.conversion import convert
from protein2text.models.protein_to_text import ProteinToText
from protein2text.models.published_layout import LOOSE
from protein2text.proteins import clean_sequence

STAGES = {"residue_states": 2e-2, "latents": 2e-2, "projected": 2e-2, "last_logits": 3e-2}
"""Largest relative error (Frobenius norm) that each stage may have."""

BFLOAT16_BITS = 8
"""Bits of a bfloat16's significand, the leading one included."""


@dataclass(frozen=True)
class ProteinParity:
    """How one record compares."""

    record: str
    num_residues: int
    errors: dict[str, float]
    prompt_matches: bool
    num_ids: int
    num_matching: int
    ties: tuple[str, ...]
    """Steps where the ids differ and the two candidates are equal within bfloat16."""
    differences: tuple[str, ...]
    """Steps where the ids differ and they are not."""

    @property
    def passed(self) -> bool:
        """Whether every stage is within its limit; NaN never is."""
        close = all(self.errors[stage] <= limit for stage, limit in STAGES.items())
        return close and self.prompt_matches and not self.differences


@dataclass(frozen=True)
class ParityFolder:
    """The parts of a folder of recorded results, found by what they hold."""

    base: Path
    encoder: Path
    published: Path
    records: list[dict[str, Any]]
    recorded: dict[str, Tensor]

    @classmethod
    def find(cls, folder: Path) -> "ParityFolder":
        """Look through a folder for its three checkpoints, ``input.json`` and ``recorded.safetensors``.

        Raises:
            MissingFile: no such folder, or a part is not there.
            CorruptCheckpoint: two folders could be the same part.
        """
        for name in ("input.json", "recorded.safetensors"):
            if not (folder / name).is_file():
                remedy = "Copy the folder whole; docs/first-hour.md says what it holds."
                raise MissingFile(str(folder / name), "a part of a folder of recorded results", remedy)
        found: dict[str, list[Path]] = {"base": [], "encoder": [], "published": []}
        for config in sorted(folder.rglob("config.json")):
            kind = _kind(config)
            if kind:
                found[kind].append(config.parent)
        for kind, places in found.items():
            if not places:
                what = {"base": "a LLaMA", "encoder": "an ESM-2", "published": f"a checkpoint with {LOOSE}"}[kind]
                raise MissingFile(str(folder / "*" / "config.json"), what, "Copy the folder whole.")
            if len(places) > 1:
                names = " and ".join(str(place.relative_to(folder)) for place in places)
                raise CorruptCheckpoint(str(folder), kind, f"could be {names}", "Leave one of them there.")
        records = json.loads((folder / "input.json").read_text(encoding="utf-8"))
        recorded = load_file(folder / "recorded.safetensors")
        return cls(found["base"][0], found["encoder"][0], found["published"][0], records, recorded)

    def of(self, number: int, record: dict[str, Any]) -> dict[str, Tensor]:
        """What was recorded for a record, by stage: under its id, or in the records' order.

        Raises:
            CorruptCheckpoint: a stage is missing.
        """
        prefixes = sorted({name.rpartition(".")[0] for name in self.recorded})
        named = [str(record.get(key)) for key in ("long_format_id", "id") if str(record.get(key)) in prefixes]
        shared = [str(other.get("id")) for other in self.records]
        if named and (named[0] == str(record.get("long_format_id")) or shared.count(named[0]) == 1):
            prefix = named[0]
        elif len(prefixes) == len(self.records):
            prefix = prefixes[number]
        else:
            problem = f"{len(prefixes)} recordings for {len(self.records)} records"
            raise CorruptCheckpoint("recorded.safetensors", str(record.get("id")), problem, "Record the folder again.")
        wanted = (*STAGES, "input_ids", "generated_ids")
        if missing := [stage for stage in wanted if f"{prefix}.{stage}" not in self.recorded]:
            problem = f"{prefix}.{missing[0]} is missing"
            raise CorruptCheckpoint("recorded.safetensors", prefix, problem, "Record the folder again.")
        return {stage: self.recorded[f"{prefix}.{stage}"] for stage in wanted}


def _kind(config: Path) -> str | None:
    """Which part a folder with a ``config.json`` is, if any."""
    model_type = json.loads(config.read_text()).get("model_type")
    if model_type == "llava_llama" or (config.parent / LOOSE).is_file():
        return "published"
    if model_type == "esm":
        return "encoder"
    return "base" if (config.parent / "tokenizer_config.json").is_file() else None


def compare(folder: Path, *, device: str = "cpu") -> Iterator[ProteinParity]:
    """Convert the folder's checkpoint, load it in compatibility mode, and run every record.

    Yields:
        One comparison per record, in order.

    Raises:
        MissingFile, MissingWeights, CorruptCheckpoint: the folder is not whole, or its checkpoint does not convert.
    """
    parts = ParityFolder.find(folder)
    with tempfile.TemporaryDirectory(prefix="protein2text-parity-") as scratch:
        native = Path(scratch) / "model"
        convert(parts.published, native, base=str(parts.base), encoder=str(parts.encoder))
        model = ProteinToText.from_pretrained(native, compat=True).to(device)
        for number, record in enumerate(parts.records):
            yield compare_record(model, record, parts.of(number, record))


@torch.inference_mode()
def compare_record(model: ProteinToText, record: dict[str, Any], recorded: dict[str, Tensor]) -> ProteinParity:
    """One record through the whole model, each stage on our own result of the stage before."""
    name = str(record.get("long_format_id", record.get("id")))
    sequence = clean_sequence(record["amino_seq"], record=name)
    question = record["conversations"][0]["value"]
    proteins = pack_proteins([sequence]).to(model.device)
    ours: dict[str, Tensor] = {"residue_states": model.encoder(proteins)}
    assert model.bridge.mm_resampler is not None, "a published checkpoint has a resampler"
    ours["latents"] = model.bridge.mm_resampler(ours["residue_states"], proteins)[0]
    ours["projected"] = model.bridge.mm_projector(ours["latents"])
    prompt = model.encode_question(question.replace("<protein_sequence>\n", ""), 1)
    ids = recorded["generated_ids"].tolist()
    steps = forced_logits(model, model.embed_prompt(prompt, [ours["projected"]]), ids)
    width = min(steps.shape[1], len(recorded["last_logits"]))  # a recorder may have kept rows beyond the tokenizer
    ours["last_logits"] = steps[0, :width]
    recorded = {**recorded, "last_logits": recorded["last_logits"][:width]}
    matching, ties, differences = judge_ids(steps, recorded["last_logits"], ids)
    return ProteinParity(
        record=name, num_residues=len(sequence),
        errors={stage: relative_error(ours[stage], recorded[stage]) for stage in STAGES},
        prompt_matches=prompt == recorded["input_ids"].tolist(), num_ids=len(ids), num_matching=matching,
        ties=tuple(ties), differences=tuple(differences),
    )  # fmt: skip


def forced_logits(model: ProteinToText, prompt_TD: Tensor, ids: list[int]) -> Tensor:
    """Logits ``(len(ids), V)`` float32 before each recorded token, the recorded ones before it having been taken.

    One step at a time with a cache, as the recording was made: a single pass would round differently.
    """
    language_model = model.decoder.language_model
    embeddings, cache, rows = language_model.get_input_embeddings(), DynamicCache(), prompt_TD[None]
    steps = []
    for token in [*ids[:-1], None]:
        output = language_model(inputs_embeds=rows, past_key_values=cache, use_cache=True, logits_to_keep=1)
        steps.append(output.logits[0, -1].float().cpu())
        if token is not None:
            rows = embeddings(torch.tensor([[token]], device=rows.device))
    return torch.stack(steps)


def judge_ids(steps: Tensor, recorded_logits: Tensor, ids: list[int]) -> tuple[int, list[str], list[str]]:
    """Compare greedy choices with the recorded ids, each step on the recorded ids before it.

    Where they differ, the question is whether the recorded model's two best logits were one and the same bfloat16, or
    neighbours. The first step's logits are recorded. For later ones ours stand in; they are known to deviate from the
    recorded ones by the largest deviation seen at the first step, so two candidates that differ in ours by up to twice
    that may be equal in theirs.

    Args:
        steps: our logits ``(len(ids), V)``.
        recorded_logits: theirs at the first step, ``(V,)``.

    Returns:
        Number of equal ids; steps that are ties; steps that are real differences.
    """
    deviation = float((steps[0, : len(recorded_logits)] - recorded_logits).abs().max())
    matching = 0
    ties: list[str] = []
    differences: list[str] = []
    for step, (logits_V, token) in enumerate(zip(steps, ids, strict=True)):
        ours = int(logits_V.argmax())
        if ours == token:
            matching += 1
            continue
        judged_V = recorded_logits if step == 0 else logits_V
        if not 0 <= token < len(judged_V):
            differences.append(f"step {step}: recorded id {token} is outside the vocabulary of {len(judged_V)}")
            continue
        best, chosen = float(judged_V.max()), float(judged_V[token])
        gap, other = (best - chosen, float(judged_V[ours])) if step == 0 else (best - chosen, best)
        if step == 0:
            gap = max(gap, best - other)
        allowed = spacing(best) + (2 * deviation if step else 0.0)
        line = f"step {step}: ours {ours}, recorded {token}, {gap:.3g} apart, resolution {allowed:.3g}"
        (ties if gap <= allowed else differences).append(line)
    return matching, ties, differences


def spacing(value: float) -> float:
    """Distance from a number to the next bfloat16 above it."""
    _, exponent = torch.frexp(torch.tensor(abs(value)))
    return float(2.0 ** (int(exponent) - BFLOAT16_BITS))


def relative_error(actual: Tensor, reference: Tensor) -> float:
    """Frobenius norm of the difference over that of the reference; infinite where shapes differ."""
    if actual.shape != reference.shape:
        return float("inf")
    actual, reference = actual.cpu().double(), reference.double()
    return float((actual - reference).norm() / reference.norm())
