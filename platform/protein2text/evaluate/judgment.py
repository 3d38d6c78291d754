"""From answers to the table and the verdict; knows no model and no files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protein2text.evaluate.baselines import NeighbourCopy, OtherText, Prior
from protein2text.evaluate.controls import Request
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.groups import GROUPINGS, build_groups
from protein2text.evaluate.items import Corpus
from protein2text.evaluate.neighbours import nearest
from protein2text.evaluate.scores import LABELS, Answers, Matrix, Row, Statistics, build_rows, primary_metric, score
from protein2text.evaluate.verdict import Verdict


@dataclass(frozen=True)
class Judgment:
    """Everything measured: answers and scores of each row, the main table, the tables by group, the verdict."""

    answers: Mapping[str, Answers]
    matrices: dict[str, Matrix]
    primary: str
    unit: str
    rows: list[Row]
    groups: list[dict[str, Any]]
    verdict: Verdict


def baseline_answers(corpus: Corpus, config: EvaluationConfig) -> tuple[dict[str, Answers], int]:
    """Answers of the rows that need no model, and how many neighbour answers had to be the typical one."""
    prior, other = Prior(corpus.train, config.seed), OtherText(corpus.train, config.seed)
    neighbours = nearest(
        (protein.sequence for item in corpus.test for protein in item.proteins),
        (protein.sequence for item in corpus.train for protein in item.proteins),
    )
    copier = NeighbourCopy(corpus.train, neighbours)
    copies = {item.item_id: copier.answer(item) for item in corpus.test}
    typical = {item.item_id: prior.answer(item) for item in corpus.test}
    drawn = {item.item_id: other.answer(item) for item in corpus.test}
    num_fallback = sum(text is None for text in copies.values())
    return {
        "neighbour": {item_id: typical[item_id] if text is None else text for item_id, text in copies.items()},
        "prior": typical,
        "random": {item_id: text for item_id, text in drawn.items() if text is not None},
    }, num_fallback


def collect(requests: Sequence[Request], texts: Sequence[str]) -> dict[str, Answers]:
    """The model's answers by control and item id."""
    answers: dict[str, dict[str, str]] = {}
    for request, text in zip(requests, texts, strict=True):
        answers.setdefault(request.control, {})[request.item_id] = text
    return dict(answers)


def judge_answers(
    corpus: Corpus, model_answers: Mapping[str, Answers], config: EvaluationConfig, subject: str = "model"
) -> Judgment:
    """Score every row on the same items and compare.

    Args:
        corpus: items and training records.
        model_answers: by control, answers by item id.
        config: statistics.
        subject: what gave the answers, in a word: ``model`` or ``index``.
    """
    items = corpus.test
    baselines, num_fallback = baseline_answers(corpus, config)
    answers = {name: dict({**model_answers, **baselines}.get(name, {})) for name in LABELS}
    matrices = {name: score(items, given, corpus.vocabulary) for name, given in answers.items()}
    statistics = Statistics.of(items, config)
    rows = build_rows(items, answers, matrices, statistics, {"neighbour": num_fallback}, subject)
    primary = primary_metric(items)
    difference = next(row.difference for row in rows if row.name == "swapped")
    assert difference is not None, "only the true row has no difference"
    groups = [build_groups(items, grouping, matrices, statistics) for grouping in GROUPINGS]
    verdict = replace(statistics.judge(difference, primary), subject=subject)
    return Judgment(answers, matrices, primary, statistics.unit, rows, groups, verdict)
