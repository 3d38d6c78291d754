"""What Hopper's machine code of every kernel holds: registers, spills, shared memory, matrix instructions.

    TRITON_INTERPRET=0 python benchmarks/compile_kernels.py        writes results/kernels_sm90.csv anew

Needs no GPU. One row a kernel, tile and dtype as the package ships them; exits with 1 if one must not be shipped.
"""

import csv
import sys

from rows import RESULTS

from protein2text_kernels.ahead_of_time import compile_all

PATH = RESULTS / "kernels_sm90.csv"


def main() -> int:
    """Compile, write and print the table."""
    rows = [done.row() for done in compile_all()]
    with PATH.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sys.stdout.writelines("\t".join(row.values()) + "\n" for row in rows)
    return int(any(row["problems"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
