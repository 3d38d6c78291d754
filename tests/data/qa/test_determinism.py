"""The checks give the same in every process: Python's own hash differs between them, and nothing may depend on it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

from protein2text.data.passages import Passage

PROGRAM = """
import dataclasses, json, sys
from protein2text.data.qa.checks import check_generated
from protein2text.data.qa.duplicates import Duplicates, fingerprint
from protein2text.data.qa.rules import QaRules

given = json.load(sys.stdin)
rules = QaRules(max_proteins=1)
checked = check_generated(given["text"], given["passage"], rules)
duplicates = Duplicates(rules)
verdicts = [
    duplicates.compare(f"{number} {name}", name, fingerprint(pair.question, pair.answer))
    for name in "AB"
    for number, pair in enumerate(checked)
]
found = [dataclasses.asdict(item) for item in (*checked, *verdicts)]
print(json.dumps([found, duplicates.widespread(), sorted(duplicates._buckets)]))
"""


def test_the_same_in_every_process(make_passage: Callable[..., Passage]) -> None:
    answers = (
        "It catalyzes the ATP-dependent amidation of aspartate.",
        "It catalyzes the ATP-dependent amidation of the aspartate.",
        "It catalyzes zebra, walnut, XYZ1 and ABC2 of 17 mM and 18 kDa.",
        "It binds Mg2+ and calcium and activates NF-κB in host cells, reducing growth by 45%.",
    )
    pairs = [{"question": "What does this protein do?", "answer": answer} for answer in answers]
    given = json.dumps({"text": json.dumps({"pairs": pairs}), "passage": make_passage()})
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=given,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
    found, widespread, buckets = json.loads(outputs[0])
    assert [item["reason"] for item in found[:4]] == [None, None, "ungrounded_name", None]
    assert "near_duplicate" in [item["reason"] for item in found[4:]]
    assert widespread
    assert buckets
