"""What Hopper's machine code of every kernel holds: registers, spills, shared memory, matrix instructions.

    TRITON_INTERPRET=0 python benchmarks/compile_kernels.py        writes results/kernels_sm90.csv anew

Needs no GPU. One row a kernel, tile and dtype as the package ships them; exits with 1 if one must not be shipped.
"""

import csv
import sys

import triton
from rows import RESULTS

from protein2text_kernels.ahead_of_time import compile_all

PATH = RESULTS / "kernels_sm90.csv"


def main() -> int:
    """Compile, write and print the table."""
    rows = [
        {
            "kernel": done.case.name, "dtype": done.case.dtype, "tile": done.case.tile, "warps": done.case.num_warps,
            "stages": done.case.num_stages, "registers": done.registers, "spill_instructions": done.spills,
            "stack_bytes": done.stack_bytes, "shared_bytes": done.shared_bytes, "hgmma": done.num_hgmma,
            "problems": "; ".join(done.problems), "triton": triton.__version__,
        }
        for done in compile_all()
    ]  # fmt: skip
    with PATH.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sys.stdout.writelines("\t".join(map(str, row.values())) + "\n" for row in rows)
    return int(any(row["problems"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
