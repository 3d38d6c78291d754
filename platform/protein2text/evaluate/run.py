"""An evaluation from a model, or an index of neighbours, to its report."""

import logging
from dataclasses import dataclass
from pathlib import Path

from protein2text.config import RunConfig
from protein2text.data.records import corpus_checksum, iter_local
from protein2text.errors import ConfigError
from protein2text.evaluate.answer import OnEvent
from protein2text.evaluate.controls import Swapper, build_requests
from protein2text.evaluate.corpus import load_corpus
from protein2text.evaluate.judgment import collect, judge_answers
from protein2text.evaluate.report import build_report, closing_table, write_answers, write_report
from protein2text.evaluate.subjects import open_subject
from protein2text.evaluate.verdict import Outcome
from protein2text.outputs import naming_a_full_disk, refuse_url

logger = logging.getLogger(__name__)


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
        model: a model folder, ``models:/NAME@ALIAS`` in the registry of ``config.tracking``, or ``neighbours:DIR``. An
            index leaves a shown protein's own entry out of its answer, and the report says how many it held.
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
    target = Path(output) if output is not None else config.folder / "evaluation"
    refuse_url(target)
    subject = open_subject(model, config)
    if not config.data.corpus:
        raise ConfigError(
            config.name, "data.corpus", "no corpus to evaluate on; name at least one folder written by `data ingest`"
        )
    settings = config.evaluation
    corpus = load_corpus(iter_local(config.data.corpus), config.data.split, settings)
    swapper = Swapper((*corpus.test, *corpus.train), corpus.vocabulary, settings.seed)
    requests = build_requests(corpus.test, swapper, settings.seed)
    subject.refuse(requests)
    logger.info("%d items, %d prompts, %d training records", len(corpus.test), len(requests), len(corpus.train))
    replies = subject.answer(requests, on_event)
    answers = collect(requests, [reply.text if reply.claims is None else reply.claims for reply in replies])
    judgment = judge_answers(corpus, answers, settings, subject.noun)
    data = {"corpus": {path: corpus_checksum(path) for path in config.data.corpus}, "split": config.data.split}
    report = build_report(
        judgment, corpus, settings, model=subject.description, data=data, seen=subject.seen(corpus.test_proteins),
        decodes=subject.decodes,
    )  # fmt: skip
    with naming_a_full_disk(target):
        html, path = write_report(report, judgment.rows, target)
        write_answers(judgment, corpus, requests, replies, report, target / "answers.jsonl")
    verdict = judgment.verdict
    logger.info("%s %s", verdict.sentence, verdict.reason)
    answers_path = str(target / "answers.jsonl")
    return EvaluationResult(
        str(html), str(path), answers_path, closing_table(report), verdict.outcome, verdict.sentence
    )
