"""Answer every question of a file in the published layout, in batches; a killed run goes on where it stopped."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from protein2text.base_config import Config
from protein2text.errors import ConfigError, PredictionStopped, RecordError
from protein2text.generate.batch_answers import BatchAnswerer, Inquiry, Limits, context_window, require_room
from protein2text.generate.engine import Answer, Engine, EngineFailed
from protein2text.generate.predict_output import PredictionFile, write_rejections
from protein2text.generate.predict_records import Question, Rejection, read_questions
from protein2text.generate.seeds import record_seed
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.checkpoints import MANIFEST, sha256_of
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText

logger = logging.getLogger(__name__)

CPU_RESIDUES = 2048
"""Residues of one forward of the encoder on a CPU: more leave its cache and are slower (``benchmarks/predict.py``)."""

OnEvent = Callable[[dict[str, Any]], None]


class PredictConfig(Config):
    """How questions of a file are answered; what is None stays as the model has it, see ``ProteinToText.decoding``."""

    compat: bool = False
    """Prompt, precision and decoding as the published implementation has them."""
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    """With a record's id it gives the seed of that record."""
    batch_tokens: int = Field(8192, ge=1)
    """Bound on the decoder's rows and on the encoder's residues at once; answers do not depend on it."""

    def resolved(self, own: Decoding) -> Decoding:
        """The model's own way of drawing with what is set here laid over it.

        Raises:
            ConfigError: a value outside its range.
        """
        given = {key: getattr(self, key) for key in ("temperature", "top_p", "max_new_tokens", "seed")}
        values = own.model_dump() | {key: value for key, value in given.items() if value is not None}
        return Decoding.parse(values, path="decoding")


@dataclass(frozen=True)
class PredictSummary:
    """What a prediction did. Counts of work are of this process, without what an earlier one had done."""

    output: str
    rejected_output: str | None
    records: int
    answered: int
    already_answered: int
    rejected: int
    reasons: dict[str, int]
    seconds: float
    records_per_s: float
    forward_passes: int
    encoder_passes: int
    proteins_encoded: int
    cache_hits: int
    """Uses of a protein that needed no encoding."""
    padded_to_useful: float
    """Key-value rows that the decoder went through, over those that were not padding; 1 is best."""

    @property
    def line(self) -> str:
        """For a person."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
        parts = [f"{self.answered} answered in {self.seconds:.1f} s ({self.records_per_s:.1f} records/s)"]
        parts += [f"{self.already_answered} already there"] if self.already_answered else []
        parts += [f"{self.rejected} rejected ({reasons}): {self.rejected_output}"] if self.rejected else []
        return f"{self.records} records: {'; '.join(parts)}"


def predict(
    source: Path, model_folder: Path, output: Path, config: PredictConfig, *, base: str | None = None,
    encoder: str | None = None, on_event: OnEvent | None = None,
) -> PredictSummary:  # fmt: skip
    """Answer the questions of a file and write one JSON line per record, in the input's order.

    Args:
        source: JSON list or JSON lines of the published records; ground truth may be missing.
        model_folder: as ``save_pretrained`` writes it.
        output: answers, in OUT.jsonl; OUT.jsonl.run.json says what they were made with, OUT.jsonl.rejected.jsonl what
            was refused.
        base: where the decoder lies now, if not where it was; ``encoder`` likewise.
        on_event: told of progress, ``{"step", "num_steps", "message"}``.

    Raises:
        MissingFile: no input, or no model.
        ConfigError: an input that is empty, or an output that is in use, not ours, or the input itself.
        ResumeMismatch: the output was begun with another input, model or decoding.
        CorruptCheckpoint: the model differs from its manifest.
        PredictionStopped: a step failed, out of memory for instance; the same command goes on with fewer tokens.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = ProteinToText.from_pretrained(model_folder, compat=config.compat, base=base, encoder=encoder).to(device)
    version = {"name": model_folder.resolve().name, "manifest_sha256": sha256_of(model_folder / MANIFEST)}
    return predict_with(model, version, source, output, config, on_event=on_event)


def predict_with(
    model: ProteinToText,
    version: dict[str, str],
    source: Path,
    output: Path,
    config: PredictConfig,
    *,
    on_event: OnEvent | None = None,
) -> PredictSummary:
    """The same with a model that is loaded already; ``version`` names it in every row."""
    on_event = on_event or (lambda event: None)
    if source.exists() and output.exists() and output.samefile(source):
        raise ConfigError(str(output), "output", "is the file of questions itself; name another file for the answers")
    records = list(read_questions(source, model.reading))
    decoding = config.resolved(model.decoding)
    if decoding.max_new_tokens >= (window := context_window(model)):
        message = (
            f"{decoding.max_new_tokens} leaves no room for a prompt; the decoder's context window is {window} tokens"
        )
        raise ConfigError("decoding", "max_new_tokens", message)
    inquiries, rejections = _inquiries(model, records, decoding)
    questions = {record.entry: record for record in records if isinstance(record, Question)}
    fixed = {"model": version, "compat": config.compat, "decoding": decoding.model_dump(mode="json")}
    rejected_output = output.with_name(f"{output.name}.rejected.jsonl")
    with PredictionFile(output, {"input_sha256": sha256_of(source), **fixed}) as file:
        write_rejections(rejected_output, rejections)
        waiting = [inquiry for inquiry in inquiries if int(inquiry.id) not in file.done]
        run = _Run(model, TransformersEngine(model), config.batch_tokens, len(waiting), on_event)
        try:
            for answers in run.answer(waiting):
                file.append([_row(model, questions[int(answer.id)], answer, fixed) for answer in answers])
        except (EngineFailed, torch.OutOfMemoryError) as error:
            raise PredictionStopped(str(output), len(file.done), str(error)) from error
        file.finish()
    return run.summary(
        output=str(output),
        rejected_output=str(rejected_output) if rejections else None,
        records=len(records),
        already_answered=len(inquiries) - len(waiting),
        rejected=len(rejections),
        reasons=dict(Counter(rejection.reason for rejection in rejections)),
    )


def _inquiries(
    model: ProteinToText, records: Sequence[Question | Rejection], decoding: Decoding
) -> tuple[list[Inquiry], list[Rejection]]:
    """Encode the questions; those that do not fit join the rejected ones."""
    inquiries, rejections = [], []
    for record in records:
        if isinstance(record, Rejection):
            rejections.append(record)
            continue
        settings = decoding.model_copy(update={"seed": record_seed(decoding.seed, record.record_id)})
        sequences = tuple(protein.sequence for protein in record.proteins)
        try:
            ids = model.encode_question(record.text, len(sequences))
            inquiry = Inquiry(str(record.entry), ids, sequences, settings)
            require_room(model, inquiry, record.record_id)
        except RecordError as error:
            rejections.append(Rejection(record.entry, record.place, record.record_id, error.reason, str(error)))
        else:
            inquiries.append(inquiry)
    return inquiries, rejections


def _row(model: ProteinToText, question: Question, answer: Answer, fixed: dict[str, Any]) -> dict[str, Any]:
    """The published keys first, then where the answer comes from."""
    return {
        "long_format_id": question.record_id,
        "Prompt": question.text,
        "Ground Truth": question.answer,
        "Predicted": model.decoder.text_of(answer.ids),
        "entry": question.entry,
        "accessions": [protein.accession for protein in question.proteins],
        "sequence_sha256": [protein.checksum for protein in question.proteins],
        "read_as": [model.reading.used(len(protein)) for protein in question.proteins],
        "beyond_training_length": [model.reading.beyond_training(len(protein)) for protein in question.proteins],
        "finish": answer.finish,
        "record_seed": record_seed(fixed["decoding"]["seed"], question.record_id),
        **fixed,
    }


class _Run:
    """The answering itself, with its progress and counts."""

    def __init__(self, model: ProteinToText, engine: Engine, batch_tokens: int, num_steps: int, on_event: OnEvent):
        self._engine, self._num_steps, self._on_event = engine, num_steps, on_event
        num_residues = batch_tokens if model.device.type == "cuda" else min(batch_tokens, CPU_RESIDUES)
        self._answerer = BatchAnswerer(model, engine, Limits(tokens=batch_tokens, residues=num_residues))
        self._num_answered = 0
        self._started = time.monotonic()

    def answer(self, inquiries: Sequence[Inquiry]) -> Iterator[list[Answer]]:
        """Answers as they come; the next ones are made when these have been written."""
        for answers in self._answerer.answer(inquiries):
            yield answers
            self._num_answered += len(answers)
            rate = self._num_answered / (time.monotonic() - self._started)
            message = f"{rate:.1f} records/s"
            self._on_event({"step": self._num_answered, "num_steps": self._num_steps, "message": message})

    def summary(self, **facts: Any) -> PredictSummary:
        """Counts, beside the given facts."""
        seconds = time.monotonic() - self._started
        stats = self._engine.stats()
        return PredictSummary(
            answered=self._num_answered,
            seconds=round(seconds, 3),
            records_per_s=round(self._num_answered / seconds, 3),
            forward_passes=stats.num_steps,
            encoder_passes=self._answerer.num_encoder_passes,
            proteins_encoded=self._answerer.num_encoded,
            cache_hits=self._answerer.num_hits,
            padded_to_useful=round(stats.num_padded / max(stats.num_cached, 1), 4),
            **facts,
        )
