"""Text scores, each with the signature under which it was computed."""

import functools
from collections.abc import Sequence
from importlib.metadata import version

from rouge_score import rouge_scorer, tokenizers
from sacrebleu.metrics.bleu import BLEU

ROUGE_SIGNATURE = f"rougeL|measure:f|stemmer:porter|tok:rouge-score|version:{version('rouge-score')}"
"""rouge-score keeps [a-z0-9] only, so "IκBα" becomes "i b"; named here because other tools differ."""


class _CachedTokenizer(tokenizers.Tokenizer):  # type: ignore[misc]  # rouge-score ships no types
    """rouge-score's own tokenizer, which remembers texts: every gold answer is compared with many others."""

    def __init__(self) -> None:
        self._cached = functools.lru_cache(maxsize=20_000)(tokenizers.DefaultTokenizer(use_stemmer=True).tokenize)

    def tokenize(self, text: str) -> list[str]:
        """Stemmed words of ``[a-z0-9]``."""
        return list(self._cached(text))


@functools.cache
def _scorer() -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer(["rougeL"], tokenizer=_CachedTokenizer())


def rouge_l(prediction: str, gold: str) -> float:
    """ROUGE-L F-measure (Lin 2004, as rouge-score computes it), 0 to 1."""
    return float(_scorer().score(gold, prediction)["rougeL"].fmeasure)


def bleu(predictions: Sequence[str], golds: Sequence[str]) -> float:
    """Corpus BLEU by sacreBLEU, 0 to 100; one reference each. 0 for no pairs."""
    if not predictions:
        return 0.0
    return float(BLEU().corpus_score(list(predictions), [list(golds)]).score)


@functools.cache
def bleu_signature() -> str:
    """sacreBLEU's own signature of ``bleu``."""
    metric = BLEU()
    metric.corpus_score(["a"], [["a"]])
    return f"BLEU|{metric.get_signature()}"
