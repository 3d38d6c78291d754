"""The checks of generated questions and answers: pairs per second of one core, and growth of memory.

    python benchmarks/qa_checks.py                                   210,000 pairs over 5,000 proteins
    python benchmarks/qa_checks.py --pairs 21000 --proteins 500      a tenth of it

Prints processor seconds of ``check_generated`` and of ``Duplicates``, resident memory before and after, the share of
pairs accepted, the reasons, and the floor: one regular expression that finds the words of the same texts, which any
check must do at least. Rows are appended to ``results/qa_checks.csv``.
"""

import argparse
import gc
import re
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from qa_world import Work, world
from rows import append, origin

from protein2text.data.qa.checks import check_generated
from protein2text.data.qa.duplicates import Duplicates, fingerprint
from protein2text.data.qa.rules import QaRules

TARGET = 2000
"""Pairs per second and core that the checks together must reach."""
_WORD = re.compile(r"\w+")


def resident_bytes() -> int:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


class Measurement:
    """Processor seconds of each stage, and what came out."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.num_pairs = self.num_letters = 0

    def run(self, num_pairs: int, num_proteins: int, seed: int) -> None:
        """Check a whole world, passage by passage, as a job does."""
        rules = QaRules()
        duplicates = Duplicates(rules)
        for work in world(num_pairs, num_proteins, seed):
            self._one(work, rules, duplicates)
        started = time.process_time()
        self.num_widespread = len(duplicates.widespread())
        self.seconds["duplicates"] += time.process_time() - started

    def _one(self, work: Work, rules: QaRules, duplicates: Duplicates) -> None:
        started = time.process_time()
        checked = check_generated(work.text, work.passage, rules)
        between = time.process_time()
        accession = work.passage["protein"]["accession"]
        for number, pair in enumerate(checked):
            reason = pair.reason
            if reason is None:
                pair_id = f"{work.passage['passage_id']}:{number}"
                reason = duplicates.compare(pair_id, accession, fingerprint(pair.question, pair.answer)).reason
            self.reasons[reason or "accepted"] += 1
        ended = time.process_time()
        for text in (work.passage["abstract"], work.text):
            _WORD.findall(text)
            self.num_letters += len(text)
        self.seconds["floor"] += time.process_time() - ended
        self.seconds["checks"] += between - started
        self.seconds["duplicates"] += ended - between
        self.num_pairs += work.num_pairs


def measure(num_pairs: int, num_proteins: int, seed: int) -> dict[str, object]:
    """A row of results."""
    check_generated('{"pairs": []}', next(world(1, 1, seed)).passage, QaRules())
    gc.collect()
    before = resident_bytes()
    measured = Measurement()
    measured.run(num_pairs, num_proteins, seed)
    rates = {name: round(measured.num_pairs / seconds) for name, seconds in measured.seconds.items()}
    both = measured.seconds["checks"] + measured.seconds["duplicates"]
    for reason, count in measured.reasons.most_common():
        sys.stdout.write(f"{count:>9,}  {reason}\n")
    return {
        "pairs": measured.num_pairs,
        "proteins": num_proteins,
        "letters": measured.num_letters,
        "accepted": measured.reasons["accepted"],
        "checks_pairs_per_s": rates["checks"],
        "duplicates_pairs_per_s": rates["duplicates"],
        "together_pairs_per_s": round(measured.num_pairs / both),
        "floor_pairs_per_s": rates["floor"],
        "growth_bytes": resident_bytes() - before,
        **origin(torch.device("cpu")),
    }


def main() -> int:
    """Measure one size; 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=210_000, help="generated pairs")
    parser.add_argument("--proteins", type=int, default=5_000, help="proteins they are about")
    parser.add_argument("--seed", type=int, default=0, help="of the world")
    arguments = parser.parse_args()
    row = measure(arguments.pairs, arguments.proteins, arguments.seed)
    append("qa_checks", row)
    together, megabytes = int(str(row["together_pairs_per_s"])), int(str(row["growth_bytes"])) / 2**20
    sys.stdout.write(
        f"{together:,} pairs/s of one core (target {TARGET:,}): {row['checks_pairs_per_s']:,} in the checks, "
        f"{row['duplicates_pairs_per_s']:,} in duplicates; finding words alone {row['floor_pairs_per_s']:,}. "
        f"Memory grew by {megabytes:.0f} MiB\n"
    )
    return 0 if together >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
