"""An evaluation from a model to its report."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig
from protein2text.data.records import corpus_checksum, iter_local
from protein2text.errors import ConfigError
from protein2text.evaluate.answer import ModelAnswerer, OnEvent, answer_here, answer_on_ray
from protein2text.evaluate.controls import Request, Swapper, build_requests
from protein2text.evaluate.corpus import load_corpus
from protein2text.evaluate.exposure import exposure
from protein2text.evaluate.judgment import collect, judge_answers
from protein2text.evaluate.report import build_report, closing_table, write_answers, write_report
from protein2text.evaluate.verdict import Outcome
from protein2text.models.checkpoints import MANIFEST, sha256_of, verify_manifest
from protein2text.models.encoders import reading_of
from protein2text.models.model_config import ModelConfig

logger = logging.getLogger(__name__)

MODEL_URI = "models:/"


@dataclass(frozen=True)
class EvaluationResult:
    """Where the report lies, its main table for a terminal, and the verdict in words."""

    report_html: str
    report_json: str
    answers: str
    table: list[dict[str, str]]
    verdict: Outcome
    sentence: str


def evaluate(
    model: str, config: RunConfig, output: str | None = None, *, on_event: OnEvent | None = None
) -> EvaluationResult:
    """Answer every test item under each control, score, compare with the baselines, and write the report.

    Args:
        model: a model folder, or ``models:/NAME@ALIAS`` in the registry of ``config.tracking``.
        config: data, split and evaluation settings.
        output: folder for answers.jsonl, report.json and report.html; the run's ``evaluation`` folder when None.
        on_event: told of progress, ``{"stage", "step", "num_steps"}``.

    Raises:
        MissingFile: no model, corpus, split or test record.
        BeyondTraining: a protein longer than the encoder was trained on, and the model refuses those.
        CorruptCheckpoint: the model differs from its manifest.
        ResourcesUnavailable: the cluster cannot hold the actors, or MMseqs2 does not run.
    """
    on_event = on_event or (lambda event: None)
    folder, version = _locate(model, config)
    description = _describe(folder) | {"name": config.tracking.model_name, "version": version}
    if not config.data.corpus:
        raise ConfigError(
            config.name, "data.corpus", "no corpus to evaluate on; name at least one folder written by `data ingest`"
        )
    settings = config.evaluation
    corpus = load_corpus(iter_local(config.data.corpus), config.data.split, settings)
    swapper = Swapper((*corpus.test, *corpus.train), corpus.vocabulary, settings.seed)
    requests = build_requests(corpus.test, swapper, settings.seed)
    _refuse_longer(requests, folder)
    logger.info("%d items, %d prompts, %d training records", len(corpus.test), len(requests), len(corpus.train))
    if settings.num_actors:
        texts = answer_on_ray(str(folder), requests, settings, on_event)
    else:
        texts = answer_here(ModelAnswerer(str(folder), settings), requests, on_event)
    judgment = judge_answers(corpus, collect(requests, texts), settings)
    data = {"corpus": {path: corpus_checksum(path) for path in config.data.corpus}, "split": config.data.split}
    seen = exposure(folder, (protein for item in corpus.test for protein in item.proteins))
    report = build_report(judgment, corpus, settings, model=description, data=data, seen=seen)
    target = Path(output) if output is not None else config.folder / "evaluation"
    html, path = write_report(report, judgment.rows, target)
    write_answers(judgment, corpus, requests, report, target / "answers.jsonl")
    verdict = judgment.verdict
    logger.info("%s %s", verdict.sentence, verdict.reason)
    answers = str(target / "answers.jsonl")
    return EvaluationResult(str(html), str(path), answers, closing_table(report), verdict.outcome, verdict.sentence)


def _locate(model: str, config: RunConfig) -> tuple[Path, str | None]:
    """The local folder, and the registry version when the model was named by one."""
    if not model.startswith(MODEL_URI):
        return Path(model).absolute(), None
    from protein2text.registry import resolve  # MLflow takes seconds to import; a folder needs none of it

    resolved = resolve(model, config.tracking.uri)
    return Path(resolved.folder), resolved.version


def _refuse_longer(requests: Sequence[Request], folder: Path) -> None:
    """Nothing is cut: a protein that the model refuses for its length is named before the first answer."""
    path = folder / "config.json"
    reading = reading_of(ModelConfig.parse(json.loads(path.read_text(encoding="utf-8")), path=str(path)))
    for request in requests:
        for accession, sequence in zip(request.accessions, request.sequences, strict=True):
            reading.check(accession, len(sequence))


def _describe(folder: Path) -> dict[str, Any]:
    """Where the model lies, the checksums of its bases, and that of its manifest: one hash that names the weights."""
    verify_manifest(folder)
    bases = json.loads((folder / "bases.json").read_text(encoding="utf-8"))
    return {"folder": str(folder), "manifest_sha256": sha256_of(folder / MANIFEST), "bases": bases}
