"""The report: one JSON, one self-contained HTML file, and every raw answer in JSON lines."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from protein2text.answerers import Reply
from protein2text.evaluate.bootstrap import Estimate
from protein2text.evaluate.controls import Request
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.exposure import Exposure, Held
from protein2text.evaluate.items import Corpus
from protein2text.evaluate.judgment import Judgment
from protein2text.evaluate.metrics import ROUGE_SIGNATURE, bleu_signature
from protein2text.evaluate.plot import rows_svg
from protein2text.evaluate.scores import LABELS, METRICS, Row, score_answer
from protein2text.pages import render, write_page
from protein2text.proteins import Protein

REPORT_VERSION = 2
TEMPLATE = Path(__file__).with_name("report_template.html.jinja")
NUM_EXAMPLES = 8
_DECODING = ("max_new_tokens", "temperature", "top_p", "seed")
_PACKAGES = ("protein2text", "torch", "transformers", "ray", "sacrebleu", "rouge-score", "numpy")

_CLAIMS = {
    "by_member": "Kind by_member: test proteins belong to families seen in training. Scores claim recall of known "
    "families, not generalisation to new ones.",
    "by_cluster": "Kind by_cluster: test proteins lie in sequence clusters held out of training. Scores claim "
    "generalisation as far as the measured identities below allow.",
    "temporal": "Kind temporal: test proteins entered the database after the day that the split names. Scores claim "
    "nothing more; the measured identities stand below.",
}


def build_report(
    judgment: Judgment,
    corpus: Corpus,
    config: EvaluationConfig,
    *,
    model: dict[str, Any],
    data: dict[str, Any],
    seen: Exposure | Held | None = None,
    decodes: bool = True,
) -> dict[str, Any]:
    """The report as plain JSON values.

    Args:
        judgment: what was measured.
        corpus: items and split.
        config: statistics and decoding.
        model: name, folder and hashes of the model.
        data: folders and checksums of the corpora.
        seen: what the model has seen of the test; None when the answers come from no model folder.
        decodes: whether the settings of decoding mean anything to it.
    """
    verdict = judgment.verdict
    without_swap = len(corpus.test) - len(judgment.answers["swapped"])
    report = {
        "version": REPORT_VERSION,
        "verdict": {**asdict(verdict), "sentence": verdict.sentence},
        "notices": [*(seen.notices() if seen else []), *_notices(judgment, corpus, config, without_swap, decodes)],
        "exposure": asdict(seen) if seen else None,
        "primary": {"metric": judgment.primary, "name": METRICS[judgment.primary], "delta": config.delta},
        "metrics": METRICS,
        "rows": [asdict(row) for row in judgment.rows],
        "groups": judgment.groups,
        "split": {"kind": corpus.split_kind, "claim": claim(corpus.split_kind), "card": corpus.split_card},
        "examples": _examples(judgment, corpus),
        "counts": {
            "num_items": len(corpus.test),
            "num_items_before_draw": corpus.num_test_before_draw,
            "num_proteins": len({protein.sequence for item in corpus.test for protein in item.proteins}),
            "num_training_items": len(corpus.train),
            "num_without_swap": without_swap,
            "num_mixed_records_dropped": corpus.num_mixed,
        },
        "decoding": {key: getattr(config, key) for key in _DECODING} if decodes else {},
        "statistics": {
            "unit": judgment.unit,
            "resamples": config.resamples,
            "confidence": config.confidence,
            "seed": config.seed,
            "smallest_effect": config.delta,
        },
        "model": model,
        "data": data,
        "signatures": {"rouge_l": ROUGE_SIGNATURE, "bleu": bleu_signature()},
        "versions": {name: version(name) for name in _PACKAGES},
    }
    plain: dict[str, Any] = _plain(report)
    return plain


def claim(kind: str) -> str:
    """What scores on a split of this kind may be said to show."""
    return _CLAIMS.get(kind, f"Kind {kind}.")


def _notices(
    judgment: Judgment, corpus: Corpus, config: EvaluationConfig, without_swap: int, decodes: bool
) -> list[str]:
    notices = []
    means = {row.name: row.estimates[judgment.primary].mean for row in judgment.rows}
    name = METRICS[judgment.primary]
    if corpus.split_kind == "by_member":
        notices.append(claim("by_member"))
    subject = judgment.verdict.subject
    for row, words in (
        ("neighbour", "Copying the nearest training neighbour"),
        ("prior", "The typical training answer, without any protein,"),
    ):
        if means[row] >= means["true"]:
            notices.append(f"{words} scores {means[row]:.3f} {name}; the {subject} scores {means['true']:.3f}.")
    if judgment.verdict.outcome == "reads the protein":
        kinds = judgment.groups[0]["groups"]
        unread = [
            f"{group['group']} ({group['outcome']})" for group in kinds if group["outcome"] != judgment.verdict.outcome
        ]
        if unread:
            notices.append(f"Not on every kind of question: {', '.join(unread)}.")
    if without_swap:
        notices.append(
            f"{without_swap} of {len(corpus.test)} items have no other protein with another answer; "
            f"true minus swapped leaves them out."
        )
    if len(corpus.test) < corpus.num_test_before_draw:
        notices.append(
            f"{len(corpus.test)} items were drawn from {corpus.num_test_before_draw} (evaluation.max_items)."
        )
    if decodes and config.temperature > 0:
        notices.append(
            f"Answers were sampled (temperature {config.temperature:g}, seed {config.seed}); another seed gives others."
        )
    return notices


def _examples(judgment: Judgment, corpus: Corpus) -> dict[str, list[dict[str, Any]]]:
    scores = judgment.matrices["true"][judgment.primary]
    second = judgment.matrices["true"]["rouge_l"]
    order = [place for place in np.lexsort((second, scores)) if not math.isnan(scores[place])]

    def example(place: int) -> dict[str, Any]:
        item = corpus.test[place]
        return {
            "item_id": item.item_id,
            "question": item.question,
            "gold": item.gold,
            "true": judgment.answers["true"].get(item.item_id, ""),
            "swapped": judgment.answers["swapped"].get(item.item_id, ""),
            "score": float(scores[place]),
        }

    half = min(NUM_EXAMPLES, len(order) // 2)
    return {
        "worst": [example(place) for place in order[:half]],
        "best": [example(place) for place in reversed(order[-half:])] if half else [],
    }


def closing_table(report: dict[str, Any]) -> list[dict[str, str]]:
    """Rows for a terminal: label, one column per metric, sacreBLEU, true minus row."""
    table = []
    for row in report["rows"]:
        line = {"row": row["label"]}
        line |= {
            METRICS[metric]: interval(row["estimates"][metric])
            for metric in METRICS
            if row["estimates"][metric]["num_items"]
        }
        line["sacreBLEU"] = f"{row['bleu']:.1f}"
        line["true minus row"] = interval(row["difference"]) if row["difference"] else ""
        table.append(line)
    return table


def interval(estimate: dict[str, Any]) -> str:
    """``0.912 [0.871, 0.948]``, or a dash where nothing was measured."""
    if estimate["mean"] is None:
        return "–"
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _mean(estimate: dict[str, Any]) -> str:
    return "–" if estimate["mean"] is None else f"{estimate['mean']:.3f}"


def write_report(report: dict[str, Any], rows: Sequence[Row], folder: Path) -> tuple[Path, Path]:
    """Write report.json and report.html; the HTML file asks for nothing outside itself."""
    folder.mkdir(parents=True, exist_ok=True)
    json_path, html_path = folder / "report.json", folder / "report.html"
    json_path.write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    plot = rows_svg(rows, report["primary"]["metric"])
    write_page(render(TEMPLATE, report=report, plot=plot, interval=interval, mean=_mean), html_path)
    return html_path, json_path


def write_answers(
    judgment: Judgment, corpus: Corpus, requests: Sequence[Request], replies: Sequence[Reply], report: dict[str, Any],
    path: Path,
) -> None:  # fmt: skip
    """Write one line per answer of every row, with what the model was shown, the decoding settings and the scores.

    ``answer`` is what was scored, ``text`` what was said; they differ where an answer holds its sources.
    """
    shown: dict[tuple[str, str], Request] = {(request.control, request.item_id): request for request in requests}
    said: dict[tuple[str, str], Reply]
    said = {(request.control, request.item_id): reply for request, reply in zip(requests, replies, strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for name in LABELS:
            for item in corpus.test:
                if item.item_id not in judgment.answers[name]:
                    continue
                answer = judgment.answers[name][item.item_id]
                request, reply = shown.get((name, item.item_id)), said.get((name, item.item_id))
                line = {
                    "version": REPORT_VERSION,
                    "item_id": item.item_id,
                    "row": name,
                    "kind": item.kind,
                    "question": item.question,
                    "gold": item.gold,
                    "answer": answer,
                    "text": None if reply is None else reply.text,
                    "scores": score_answer(item, answer, corpus.vocabulary),
                    "proteins": None if request is None else _shown_proteins(request),
                    "messages": None if request is None else list(request.messages),
                    "decoding": None if request is None else report["decoding"] or None,
                    "model": None if request is None else report["model"].get("manifest_sha256"),
                    "details": None if reply is None else reply.details,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _shown_proteins(request: Request) -> list[dict[str, str]]:
    return [
        {"accession": accession, "checksum": Protein(accession, sequence).checksum}
        for accession, sequence in zip(request.accessions, request.sequences, strict=True)
    ]


def _plain(value: Any) -> Any:
    """JSON values only: dataclasses become mappings, NaN becomes null."""
    if isinstance(value, Estimate) or (is_dataclass(value) and not isinstance(value, type)):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
