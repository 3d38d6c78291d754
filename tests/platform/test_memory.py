import platform
import resource
import subprocess
import sys

import pytest

from protein2text.memory import peak_bytes

MIB = 2**20
CHILD = f"""
from protein2text.memory import peak_bytes
print(peak_bytes())
block = b"x" * (128 * {MIB})
del block
print(peak_bytes())
"""


def test_the_peak_is_the_childs_own_and_outlives_what_it_held() -> None:
    block = b"x" * (256 * MIB)
    assert peak_bytes() >= len(block)
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before < 64 * MIB  # a child begins with its parent's ``ru_maxrss``
    assert 127 * MIB < after - before < 192 * MIB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left as they are")
def test_freed_memory_is_used_again() -> None:
    """40 MiB are more than glibc keeps by itself, and each of their pages a fault whenever they are taken anew."""
    program = (
        "import resource, sys\n"
        "import pyarrow as pa\n"
        "from protein2text.memory import keep_freed_memory\n"
        "if sys.argv[1] == 'kept': keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "before = faults()\n"
        "for _ in range(10): b'x' * (40 * 2**20)\n"
        "print(faults() - before, pa.default_memory_pool().backend_name)\n"
    )
    (given_back, _), (kept, pool) = (
        subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True).stdout.split()
        for how in ("given back", "kept")
    )
    pages_at_once = 40 * 2**20 // resource.getpagesize()
    assert int(given_back) > 9 * pages_at_once
    assert int(kept) < 2 * pages_at_once
    assert pool == "system"
