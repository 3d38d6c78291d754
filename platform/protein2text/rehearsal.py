"""The first hour with the real weights, rehearsed with random ones of the same shapes: each step timed and measured.

A finished step is not repeated: its figures lie in ``rehearsal.json``, so two short calls do what one long one would.
"""

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from protein2text.config import load_run
from protein2text.errors import ResumeMismatch
from protein2text.memory import peak_bytes
from protein2text.models.batches import pack
from protein2text.models.chat import encode_example, question_messages
from protein2text.models.conversion import convert
from protein2text.models.model_config import DecoderConfig, EncoderConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText, Stage
from protein2text.outputs import refuse_url
from protein2text.rehearsal_weights import scaled_parts, shapes_of, write_checkpoint, write_decoder, write_encoder

RECORD = "rehearsal.json"
NUM_PROTEINS = 64
MEDIAN_RESIDUES, SIGMA, MAX_RESIDUES = 294, 0.63, 2000
NUM_STEPS = 2
BATCH = 4


@dataclass(frozen=True)
class Measured:
    """One step of the rehearsal."""

    step: str
    seconds: float
    memory_bytes: int
    """Peak: the device's on a GPU, else of the process since its start."""
    disk_bytes: int
    """Size of the rehearsal's folder after it."""
    note: str


class Rehearsal:
    """One preset at one scale in one folder.

    Args:
        folder: holds the random checkpoint, the converted model and the record.
        preset: whose shapes.
        scale: 1 is the true shapes.
        device: where models run.

    Raises:
        ResumeMismatch: the folder holds a rehearsal of something else.
    """

    def __init__(self, folder: Path, preset: str, *, scale: float = 1.0, device: str = "cpu") -> None:
        refuse_url(folder)
        self.folder, self.preset, self.scale, self.device = folder, preset, scale, torch.device(device)
        self.shapes = shapes_of(preset, scale)
        self.base, self.encoder = folder / "llama", folder / "esm2"
        self.published, self.native = folder / "published", folder / "native"
        self.done: list[Measured] = []
        path = folder / RECORD
        if path.is_file():
            saved = json.loads(path.read_text())
            if (saved["preset"], saved["scale"]) != (preset, scale):
                before, now = f"{saved['preset']} × {saved['scale']}", f"{preset} × {scale}"
                raise ResumeMismatch(str(folder), "preset × scale", before, now)
            self.done = [Measured(**step) for step in saved["steps"]]

    def run(self) -> Iterator[Measured]:
        """Do every step that is not done; yield each step's figures, old ones too."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("write bases", self._write_bases), ("write checkpoint", self._write_checkpoint),
            ("convert", self._convert), ("load and predict", self._predict),
            ("alignment steps", lambda: self._train("alignment")),
            ("instruction steps", lambda: self._train("instruction")),
        )  # fmt: skip
        finished = {measured.step: measured for measured in self.done}
        for name, work in steps:
            yield finished.get(name) or self._measure(name, work)

    def _measure(self, name: str, work: Callable[[], str]) -> Measured:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        began = time.monotonic()
        note = work()
        if self.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.empty_cache()
        else:
            memory = peak_bytes()
        disk = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        measured = Measured(name, time.monotonic() - began, memory, disk, note)
        self.done.append(measured)
        record = {"preset": self.preset, "scale": self.scale, "steps": [asdict(step) for step in self.done]}
        partial = self.folder / f".{RECORD}.partial"
        partial.write_text(json.dumps(record, indent=2))
        partial.replace(self.folder / RECORD)
        return measured

    def _write_bases(self) -> str:
        for folder in (self.base, self.encoder):
            shutil.rmtree(folder, ignore_errors=True)
        write_encoder(self.encoder, self.shapes, seed=1)
        write_decoder(self.base, self.shapes, seed=2)
        shapes = self.shapes
        return (
            f"encoder {shapes.encoder_layers} × {shapes.encoder_width}, decoder {shapes.layers} × {shapes.width}, "
            f"{shapes.vocabulary:,} tokens"
        )

    def _write_checkpoint(self) -> str:
        shutil.rmtree(self.published, ignore_errors=True)
        preset = load_run(self.preset).model
        bridge, lora = scaled_parts(preset.bridge, preset.decoder.lora, self.scale)
        config = ModelConfig(
            encoder=EncoderConfig(source=str(self.encoder)), bridge=bridge,
            decoder=DecoderConfig(source=str(self.base), lora=lora),
        )  # fmt: skip
        write_checkpoint(self.published, config, self.base, self.shapes.encoder_width, seed=3)
        return f"{bridge.num_latents} latents, LoRA rank {lora.rank}"

    def _convert(self) -> str:
        shutil.rmtree(self.native, ignore_errors=True)
        result = convert(self.published, self.native, base=str(self.base), encoder=str(self.encoder))
        return f"{result.num_tensors} tensors, {result.name}"

    def _predict(self) -> str:
        model = ProteinToText.from_pretrained(self.native, compat=True).to(self.device)
        loaded = time.monotonic()
        settings = model.decoding.model_copy(update={"temperature": 0.0, "max_new_tokens": 16})
        sequences = random_sequences(NUM_PROTEINS)
        prompt = model.encode_question("What is the function of this protein?", 1)
        for begin in range(0, len(sequences), BATCH):
            part = sequences[begin : begin + BATCH]
            model.generate([prompt] * len(part), [[sequence] for sequence in part], settings)
        seconds = time.monotonic() - loaded
        return f"{len(sequences)} answers of {settings.max_new_tokens} tokens in {seconds:.1f} s after loading"

    def _train(self, stage: Stage) -> str:
        model = ProteinToText.from_pretrained(self.native, verify_bases=False).to(self.device)
        model.set_stage(stage)
        model.train()
        trainable = model.trainable()
        optimizer = torch.optim.AdamW(trainable.values(), lr=1e-4)
        answer = {"role": "assistant", "content": "It binds zinc and is found in the nucleus."}
        example = encode_example(model.tokenizer, [*question_messages("What does it bind?", 1), answer])
        sequences = random_sequences(BATCH * NUM_STEPS)
        losses = []
        for step in range(NUM_STEPS):
            part = [[sequence] for sequence in sequences[step * BATCH : (step + 1) * BATCH]]
            batch = pack([example] * BATCH, part, model.config.bridge).to(self.device)
            loss = model(batch) / batch.num_supervised
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        if not all(math.isfinite(loss) for loss in losses):
            raise FloatingPointError(f"{stage}: losses {losses}")
        size = sum(parameter.numel() for parameter in trainable.values())
        return f"{NUM_STEPS} steps of {BATCH} proteins, {size:,} parameters, loss {losses[0]:.2f} to {losses[-1]:.2f}"


def random_sequences(count: int) -> list[str]:
    """Sequences of log-normal lengths, as UniProt's are, the same at every call."""
    dice = random.Random(count)
    lengths = [min(MAX_RESIDUES, max(1, round(MEDIAN_RESIDUES * math.exp(dice.gauss(0, SIGMA))))) for _ in range(count)]
    return ["".join(dice.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]
