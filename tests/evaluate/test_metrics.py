import pytest
import sacrebleu

from protein2text.evaluate.metrics import ROUGE_SIGNATURE, bleu, bleu_signature, rouge_l

GOLD = "It catalyzes the endohydrolysis of cellulose."


def lcs(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@pytest.mark.parametrize(
    "prediction", ["It degrades cellulose.", "cellulose of the", GOLD, "nothing alike here at all"]
)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(prediction: str) -> None:
    a, b = (text.lower().replace(".", "").split() for text in (prediction, GOLD))
    common = lcs(a, b)  # no word here is changed unequally by stemming
    expected = 0.0 if common == 0 else 2 * common / (len(a) + len(b))
    assert rouge_l(prediction, GOLD) == pytest.approx(expected)


def test_bleu_is_sacrebleus() -> None:
    predictions, golds = ["It catalyzes hydrolysis of cellulose.", GOLD], [GOLD, GOLD]
    assert bleu(predictions, golds) == pytest.approx(sacrebleu.corpus_bleu(predictions, [golds]).score)
    assert bleu([], []) == 0.0


def test_signatures_say_how_the_scores_were_made() -> None:
    assert "tok:13a" in bleu_signature()
    assert sacrebleu.__version__ in bleu_signature()
    assert "rougeL" in ROUGE_SIGNATURE
