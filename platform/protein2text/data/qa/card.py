"""Counts a QA corpus while it is written, and makes its card of them."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from protein2text.data.qa.generator import GENERATOR_REASONS
from protein2text.data.qa.rules import FLAGS, REASONS, QaRules
from protein2text.data.qa.wording import yes_or_no
from protein2text.data.records import RECORD_VERSION
from protein2text.data.tallies import LENGTH_EDGES, QUESTION_EDGES, histogram

MEANINGS = {**REASONS, **GENERATOR_REASONS}


class QaStatistics:
    """Takes rows sorted by passage, accepted and refused ones as they come.

    Args:
        num_passages: of the literature.
    """

    def __init__(self, num_passages: int) -> None:
        self.num_passages, self.num_records, self.num_rejects = num_passages, 0, 0
        self._num_empty = self._num_without_text = 0
        self._reasons: Counter[str] = Counter()
        self._flags: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._yes_no: Counter[str] = Counter({"yes": 0, "no": 0})
        self._questions: Counter[str] = Counter()
        self._lengths: dict[str, int] = {}
        self._last = {"passage": "", "article": ""}
        self._num_distinct = {"passage": 0, "article": 0}

    def add(self, accepted: Iterable[dict[str, Any]], refused: Iterable[dict[str, Any]], num_empty: int) -> None:
        """Count records, refusals, and passages about which nothing was written."""
        self._num_empty += num_empty
        for row in refused:
            self.num_rejects += 1
            self._num_without_text += row["number"] == 0
            self._reasons[row["reason"]] += 1
        for row in accepted:
            self._count(row)

    def _count(self, row: dict[str, Any]) -> None:
        self.num_records += 1
        provenance = json.loads(row["provenance"])
        self._distinct("passage", row["passage_id"])
        self._distinct("article", row["passage_id"].rpartition(":")[0])
        self._licences[provenance.get("licence", "not stated")] += 1
        self._flags.update(row["flags"])
        self._kinds[row["question_kind"]] += 1
        if row["question_kind"] == "yes_no":
            self._yes_no[yes_or_no(row["answer"]) or "neither"] += 1
        self._questions[row["accession"]] += 1
        self._lengths |= {protein["checksum"]: protein["length"] for protein in row["proteins"]}

    def _distinct(self, kind: str, name: str) -> None:
        """Count a name that is not the one before: equal ones stand together, because passages are sorted."""
        self._num_distinct[kind] += name != self._last[kind]
        self._last[kind] = name

    def card(self, generation: dict[str, Any], rules: QaRules) -> dict[str, Any]:
        """The card, without what only the files tell: shards, checksum and plots.

        Args:
            generation: header of the texts.
            rules: that were applied.
        """
        num_rows = self.num_records + self.num_rejects
        return {
            "version": RECORD_VERSION,
            "kind": "questions",
            "note": self._note(num_rows),
            "generation": generation,
            "rules": rules.model_dump(mode="json"),
            "counts": {
                "passages": self.num_passages,
                "passages_without_pairs": self._num_empty,
                "rows": num_rows,
                "records": self.num_records,
                "rejected": self.num_rejects,
                "proteins": len(self._lengths),
                "articles": self._num_distinct["article"],
            },
            "funnel": self._funnel(num_rows),
            "passages_funnel": self._passages_funnel(),
            "reasons": dict(self._reasons.most_common()),
            "flags": dict(self._flags.most_common()),
            "meanings": {code: {**MEANINGS, **FLAGS}.get(code, "") for code in (*self._reasons, *self._flags)},
            "licences": dict(self._licences.most_common()),
            "question_kinds": dict(self._kinds.most_common()),
            "yes_no_answers": dict(self._yes_no),
            "questions_per_protein": _per_protein(list(self._questions.values())),
            "length_histogram": histogram(self._lengths.values(), LENGTH_EDGES),
        }

    def _note(self, num_rows: int) -> str | None:
        """What a reader must know first; None when records were made."""
        if self.num_records:
            return None
        why = "the generator wrote no pair about any passage"
        if self._reasons:
            reason, count = self._reasons.most_common(1)[0]
            why = f"all {num_rows} outcomes were refused, most often ({count}) because: {MEANINGS.get(reason, reason)}"
        if not self.num_passages:
            why = "the literature holds no passage"
        return f"No pair was accepted: {why.rstrip('.')}."

    def _funnel(self, num_rows: int) -> list[dict[str, Any]]:
        """What is left after each reason, largest loss first: generated pairs at the top, records at the bottom."""
        steps, left = [{"step": "generated", "left": num_rows}], num_rows
        for reason, count in self._reasons.most_common():
            left -= count
            steps.append({"step": f"not {reason}", "left": left})
        return steps

    def _passages_funnel(self) -> list[dict[str, Any]]:
        with_text = self.num_passages - self._num_without_text
        return [
            {"step": "passages", "left": self.num_passages},
            {"step": "with a text", "left": with_text},
            {"step": "with a text that holds pairs", "left": with_text - self._num_empty},
            {"step": "with an accepted pair", "left": self._num_distinct["passage"]},
        ]


def _per_protein(counts: Sequence[int]) -> dict[str, Any]:
    """Questions per protein that has any."""
    numbers = {
        "mean": round(statistics.fmean(counts), 2) if counts else None,
        "median": statistics.median(counts) if counts else None,
        "most": max(counts, default=None),
    }
    return {**numbers, "histogram": histogram(counts, QUESTION_EDGES)}
