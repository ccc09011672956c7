"""A process that keeps its freed memory asks the system for no more."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from fairseq_smt.core.allocation import keep_freed_memory

told = sys.argv[1] == "kept" and keep_freed_memory()

def update():
    held = [bytearray(1 << 16) for _ in range(2000)]  # more than glibc lets lie at the heap's end
    held.clear()

for _ in range(4):
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
update()
print(int(told), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def update(how: str) -> tuple[bool, int]:
    """Whether the C library could be told, and the pages that the system had to find."""
    done = subprocess.run([sys.executable, "-c", CODE, how], text=True, capture_output=True, check=True)
    told, pages = map(int, done.stdout.split())
    return bool(told), pages


@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux counts")
def test_freed_memory_is_taken_again():
    told, pages = update("kept")
    if not told:
        pytest.skip("the C library has no mallopt that works")
    assert pages < 100 < 1000 < update("freed")[1]
