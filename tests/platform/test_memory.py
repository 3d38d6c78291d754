import subprocess
import sys

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
