import random
from collections.abc import Iterator

import pytest
import sacrebleu
from rouge_score import rouge_scorer

from protein2text.evaluate.metrics import ROUGE_SIGNATURE, bleu, bleu_signature, rouge_l

GOLD = "It catalyzes the endohydrolysis of cellulose."


def texts(seed: int) -> Iterator[tuple[str, str]]:
    rng = random.Random(seed)
    words = [
        "the",
        "binding",
        "binds",
        "bound",
        "ATP",
        "IκBα",
        "zinc-finger",
        "3.2.1.4",
        "Na+/K+",
        "cells",
        "proteins",
        "—",
        "",
    ]
    for _ in range(300):
        yield tuple(" ".join(rng.choices(words, k=rng.randint(0, 90))) for _ in range(2))


def test_rouge_l_is_rouge_scores_own() -> None:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    for prediction, gold in [*texts(0), ("", ""), ("a", ""), ("", "a"), (GOLD, GOLD), ("cellulose of the", GOLD)]:
        assert rouge_l(prediction, gold) == pytest.approx(scorer.score(gold, prediction)["rougeL"].fmeasure, abs=1e-12)


def test_rouge_l_counts_words_in_order() -> None:
    assert rouge_l("a b c d", "a c x d") == pytest.approx(3 / 4)  # a c d of four and four
    assert rouge_l("d c b a", "a b c d") == pytest.approx(1 / 4)


def test_bleu_is_sacrebleus() -> None:
    predictions, golds = ["It catalyzes hydrolysis of cellulose.", GOLD], [GOLD, GOLD]
    assert bleu(predictions, golds) == pytest.approx(sacrebleu.corpus_bleu(predictions, [golds]).score)
    assert bleu([], []) == 0.0


def test_signatures_say_how_the_scores_were_made() -> None:
    assert "tok:13a" in bleu_signature()
    assert sacrebleu.__version__ in bleu_signature()
    assert "rougeL" in ROUGE_SIGNATURE
