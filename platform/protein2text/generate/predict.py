"""Answer every question of a file in the published layout, in batches; a killed run goes on where it stopped.

Whoever answers is loaded by ``open_answerer``; nothing here needs torch.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protein2text.answerers import AnswerConfig, Answerer, Query, Reply, open_answerer
from protein2text.errors import AnsweringFailed, ConfigError, PredictionStopped, RecordError
from protein2text.generate.predict_output import PredictionFile, write_rejections
from protein2text.generate.predict_records import Question, Rejection, read_questions
from protein2text.models.checkpoints import sha256_of
from protein2text.outputs import naming_a_full_disk, refuse_url

logger = logging.getLogger(__name__)

OnEvent = Callable[[dict[str, Any]], None]


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
    work: dict[str, float]
    """What the answerer counts, by name."""

    @property
    def line(self) -> str:
        """For a person."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
        parts = [f"{self.answered} answered in {self.seconds:.1f} s ({self.records_per_s:.1f} records/s)"]
        parts += [f"{self.already_answered} already there"] if self.already_answered else []
        parts += [f"{self.rejected} rejected ({reasons}): {self.rejected_output}"] if self.rejected else []
        return f"{self.records} records: {'; '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """Every count on one level."""
        values = asdict(self)
        work = values.pop("work")
        return {**values, **work}


def predict(
    source: Path, model: str | Path, output: Path, config: AnswerConfig | None = None, *,
    tracking_uri: str | None = None, on_event: OnEvent | None = None,
) -> PredictSummary:  # fmt: skip
    """Answer the questions of a file and write one JSON line per record, in the input's order.

    Args:
        source: JSON list or JSON lines of the published records; ground truth may be missing.
        model: what `open_answerer` takes: a model folder, its name in the registry, or ``neighbours:DIR``.
        output: answers, in OUT.jsonl; OUT.jsonl.run.json says what they were made with, OUT.jsonl.rejected.jsonl what
            was refused.
        config: how a model answers.
        tracking_uri: the registry's database, for a ``models:/`` name.
        on_event: told of progress, ``{"step", "num_steps", "message"}``.

    Raises:
        MissingFile: no input, or no model.
        ConfigError: an input that is empty, or an output that is in use, not ours, or the input itself.
        ResumeMismatch: the output was begun with another input, model or decoding.
        CorruptCheckpoint: the model differs from its manifest.
        PredictionStopped: a step failed, out of memory for instance; the same command goes on with fewer tokens.
        DiskFull: the answers do not fit on their disk; those written are kept.
    """
    refuse_url(output)
    return predict_with(open_answerer(str(model), config, tracking_uri=tracking_uri), source, output, on_event=on_event)


def predict_with(answerer: Answerer, source: Path, output: Path, *, on_event: OnEvent | None = None) -> PredictSummary:
    """The same with an answerer that is open already."""
    if source.exists() and output.exists() and output.samefile(source):
        raise ConfigError(str(output), "output", "is the file of questions itself; name another file for the answers")
    records = list(read_questions(source, answerer.reading))
    queries, rejections = _queries(answerer, records)
    questions = {str(record.entry): record for record in records if isinstance(record, Question)}
    fixed = {"model": answerer.identity, **answerer.settings}
    rejected_output = output.with_name(f"{output.name}.rejected.jsonl")
    progress = _Progress(on_event or (lambda event: None))
    header = {"input_sha256": sha256_of(source), **fixed}
    with naming_a_full_disk(output.absolute().parent), PredictionFile(output, header) as file:
        write_rejections(rejected_output, rejections)
        waiting = [query for query in queries if int(query.id) not in file.done]
        try:
            for replies in progress.over(answerer.answer(waiting), len(waiting)):
                file.append(_row(questions[reply.id], reply, fixed) for reply in replies)
        except AnsweringFailed as error:
            raise PredictionStopped(str(output), len(file.done), error.problem) from error
        file.finish()
    return PredictSummary(
        output=str(output),
        rejected_output=str(rejected_output) if rejections else None,
        records=len(records),
        answered=progress.num_answered,
        already_answered=len(queries) - len(waiting),
        rejected=len(rejections),
        reasons=dict(Counter(rejection.reason for rejection in rejections)),
        seconds=round(progress.seconds, 3),
        records_per_s=round(progress.num_answered / progress.seconds, 3),
        work=answerer.work(),
    )


def _queries(answerer: Answerer, records: Sequence[Question | Rejection]) -> tuple[list[Query], list[Rejection]]:
    """Questions that can be asked; the others join the rejected ones."""
    queries, rejections = [], []
    for record in records:
        if isinstance(record, Rejection):
            rejections.append(record)
            continue
        query = Query(str(record.entry), record.record_id, record.text, record.proteins)
        try:
            answerer.check(query)
        except RecordError as error:
            rejections.append(Rejection(record.entry, record.place, record.record_id, error.reason, str(error)))
        else:
            queries.append(query)
    return queries, rejections


def _row(question: Question, reply: Reply, fixed: dict[str, Any]) -> dict[str, Any]:
    """The published keys first, then where the answer comes from; what is told of one answer outdoes what is fixed."""
    return {
        "long_format_id": question.record_id,
        "Prompt": question.text,
        "Ground Truth": question.answer,
        "Predicted": reply.text,
        "entry": question.entry,
        "accessions": [protein.accession for protein in question.proteins],
        "sequence_sha256": [protein.checksum for protein in question.proteins],
        **fixed,
        **reply.details,
    }


class _Progress:
    """Counts answers as they come, and tells of them."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._started = time.monotonic()
        self.num_answered = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def over(self, answers: Iterable[list[Reply]], num_steps: int) -> Iterator[list[Reply]]:
        """The same answers; the next ones are made when these have been written."""
        for replies in answers:
            yield replies
            self.num_answered += len(replies)
            message = f"{self.num_answered / self.seconds:.1f} records/s"
            self._on_event({"step": self.num_answered, "num_steps": num_steps, "message": message})
