"""`data.qa.duplicates`: what comparing every pair with every other one finds, exactly or nearly the same (R11, R15)."""

import random
from itertools import combinations
from typing import Any

import pytest

from protein2text.data.qa.duplicates import Duplicates, Verdict, fingerprint, similarity
from protein2text.data.qa.rules import QaRules

QUESTION = "What does this protein bind in the nucleus of hepatic cells?"
ANSWER = "It binds zinc and regulates the transcription of many stress response genes in the liver."
RULES = QaRules()

Pair = tuple[str, str, str, str]
"""Pair id, accession, question, answer."""


def compare(duplicates: Duplicates, pair_id: str, accession: str, question: str, answer: str) -> Verdict:
    return duplicates.compare(pair_id, accession, fingerprint(question, answer))


def verdicts(pairs: list[Pair], rules: QaRules = RULES) -> dict[str, Any]:
    duplicates = Duplicates(rules)
    return {pair[0]: compare(duplicates, *pair) for pair in pairs}


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (QUESTION, ANSWER, "duplicate"),
        (QUESTION.upper(), ANSWER.replace(" ", "  "), "duplicate"),
        (QUESTION, ANSWER.rstrip("."), "duplicate"),
        (QUESTION, ANSWER.replace("many", "several"), "near_duplicate"),
        (QUESTION, ANSWER.replace("genes", "gene"), "near_duplicate"),
        (QUESTION, ANSWER.replace("many", "the many very"), "near_duplicate"),
        (QUESTION, ANSWER.replace("regulates", "does not regulate"), None),
        (QUESTION, "No, " + ANSWER, None),
        (QUESTION, ANSWER.replace("many", "42"), None),
        (QUESTION, ANSWER.replace("many", "TP53"), None),
        (QUESTION, ANSWER.replace("liver", "spleen and the kidney"), None),
        ("Which metal does this protein bind?", ANSWER, None),
        (QUESTION, "It binds DNA.", None),
    ],
)
def test_within_one_protein(question: str, answer: str, reason: str | None) -> None:
    verdict = verdicts([("a", "P1", QUESTION, ANSWER), ("b", "P1", question, answer)])["b"]
    assert verdict.reason == reason, verdict
    assert reason is None or " a" in verdict.message
    assert verdict.flags == ()


def test_across_proteins_a_duplicate_stays_and_is_flagged() -> None:
    found = verdicts(
        [
            ("a", "P1", QUESTION, ANSWER),
            ("b", "P2", QUESTION, ANSWER),
            ("c", "P3", QUESTION, ANSWER.replace("many", "several")),
            ("d", "P3", QUESTION, ANSWER),
            ("e", "P4", "What is this?", "It is another protein."),
        ]
    )
    assert {name: verdict.flags for name, verdict in found.items()} == {
        "a": (), "b": ("duplicate_across",), "c": ("near_duplicate_across",), "d": (), "e": (),
    }  # fmt: skip
    assert [name for name, verdict in found.items() if verdict.reason] == ["d"]
    assert found["d"].reason == "near_duplicate"


def test_a_refused_pair_is_forgotten() -> None:
    chain = [ANSWER]
    for word in ("acute", "chronic"):
        chain.append(chain[-1].replace("stress", f"{word} stress"))
    found = verdicts([(str(number), "P1", QUESTION, answer) for number, answer in enumerate(chain)])
    assert found["1"].reason == "near_duplicate"
    assert found["2"].reason is None, "the first differs enough, and what lay between was refused"


@pytest.mark.parametrize(("num_proteins", "flagged"), [(5, 0), (6, 6)])
def test_pairs_of_more_than_k_proteins_are_told_after_the_last(num_proteins: int, flagged: int) -> None:
    duplicates = Duplicates(RULES)
    compare(duplicates, "other", "P0", "What is this?", "It is another protein.")
    for number in range(num_proteins):
        answer = ANSWER if number % 2 else ANSWER.replace("many", "several")
        assert compare(duplicates, f"pair {number}", f"P{number}", QUESTION, answer).reason is None
    assert duplicates.widespread() == {f"pair {number}": num_proteins for number in range(flagged)}


def world(seed: int, num_pairs: int) -> list[Pair]:
    """Pairs made of few words, so that many are nearly alike; some are copies with small changes."""
    rng = random.Random(seed)
    words = "bind zinc iron liver heart muscle growth repair control gene membrane signal stress enzyme cell".split()  # noqa: SIM905
    pairs: list[Pair] = []
    for number in range(num_pairs):
        accession = f"P{rng.randrange(6)}"
        if pairs and rng.random() < 0.6:
            _, _, question, answer = rng.choice(pairs)
            parts = answer.split()
            place = rng.randrange(len(parts))
            parts[place : place + rng.randrange(2)] = rng.choices([*words, "42", "not", "the"], k=rng.randrange(3))
            answer = " ".join(parts) or "zinc"
        else:
            question = " ".join(rng.choices(words, k=rng.randrange(3, 8)))
            answer = " ".join(rng.choices(words, k=rng.randrange(4, 25)))
        pairs.append((f"pair {number}", accession, question, answer))
    return pairs


def brute_force(
    pairs: list[Pair], rules: QaRules
) -> tuple[dict[str, tuple[str | None, tuple[str, ...]]], dict[str, int]]:
    """Oracle: every pair against every accepted one before it; no index, no signature."""
    prints = {pair[0]: fingerprint(pair[2], pair[3]) for pair in pairs}

    def alike(one: str, other: str) -> str | None:
        first, second = prints[one], prints[other]
        if first.words == second.words:
            return "duplicate"
        shared, union = len(first.shingles & second.shingles), len(first.shingles | second.shingles)
        near = first.facts == second.facts and shared / union >= rules.similarity
        return "near_duplicate" if near else None

    accepted: list[Pair] = []
    found: dict[str, tuple[str | None, tuple[str, ...]]] = {}
    for pair in pairs:
        kinds = [(alike(pair[0], other[0]), other[1] == pair[1]) for other in accepted]
        within = {kind for kind, same_protein in kinds if kind and same_protein}
        across = {kind for kind, _ in kinds if kind}
        if within:
            found[pair[0]] = min(within, key=len), ()
            continue
        found[pair[0]] = None, (f"{min(across, key=len)}_across",) if across else ()
        accepted.append(pair)
    groups: dict[str, set[str]] = {pair[0]: {pair[0]} for pair in accepted}
    for one, other in combinations(accepted, 2):
        if alike(one[0], other[0]):
            joined = groups[one[0]] | groups[other[0]]
            for name in joined:
                groups[name] = joined
    accessions = {pair[0]: pair[1] for pair in accepted}
    counts = {name: len({accessions[member] for member in members}) for name, members in groups.items()}
    return found, {name: count for name, count in counts.items() if count > rules.max_proteins}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [0.8, 0.9, 1.0])
def test_verdicts_equal_those_of_comparing_all(seed: int, limit: float) -> None:
    """Within a protein exactly, whatever the limit; across proteins the index misses one in 120 at its lowest limit."""
    rules = QaRules(similarity=limit, max_proteins=2)
    pairs = world(seed, 250)
    expected, widespread = brute_force(pairs, rules)
    duplicates = Duplicates(rules)
    found = {pair[0]: compare(duplicates, *pair) for pair in pairs}
    assert {name: verdict.reason for name, verdict in found.items()} == {
        name: case[0] for name, case in expected.items()
    }
    flagged = {name for name, verdict in found.items() if verdict.flags}
    truly = {name for name, (_, flags) in expected.items() if flags}
    assert flagged <= truly
    assert len(flagged) >= len(truly) - (limit == 0.8)
    if flagged == truly:
        assert {name: verdict.flags for name, verdict in found.items()} == {
            name: case[1] for name, case in expected.items()
        }
        assert duplicates.widespread() == widespread
    reasons = {reason for reason, _ in expected.values()}
    assert {"duplicate", None} <= reasons
    assert limit == 1.0 or "near_duplicate" in reasons
    assert widespread


def test_similarity_is_that_of_sets() -> None:
    assert similarity(frozenset({1, 2, 3}), [2, 3, 4, 5], 4) == 2 / 5
    assert similarity(frozenset({1}), [1], 1) == 1.0
    assert similarity(frozenset({1}), [2], 1) == 0.0


@pytest.mark.parametrize(
    "form", ["It is {} that this protein is made of.", "The {} promoter is repressed when it is near."]
)
def test_answers_of_one_form_do_not_share_a_bucket(form: str) -> None:
    """Else time would grow with the square of the pairs."""
    rng = random.Random(3)
    duplicates = Duplicates(RULES)
    for number in range(400):
        words = " ".join("".join(rng.choices("bdfgklmnprst", k=4)) for _ in range(3))
        filler = words if "made" in form else f"{words[:3].upper()}{number}"
        question, answer = "What is the function of this protein?", form.format(filler)
        compare(duplicates, str(number), f"P{number}", question, answer)
    assert max(1 if isinstance(found, int) else len(found) for found in duplicates._buckets.values()) < 5
