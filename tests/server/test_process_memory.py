"""The memory of a process that serves: what it keeps when much was freed."""

import platform
import subprocess
import sys

import pytest

from cmux_proxy._build import HAS_NATIVE

pytestmark = pytest.mark.skipif(
    not HAS_NATIVE or platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's"
)

MIB = 1024 * 1024
HEAP_AFTER = """
import sys
from cmux_proxy.server.process_memory import tune_memory

def heap_size():
    for line in open("/proc/self/maps"):
        if line.endswith("[heap]\\n"):
            start, end = line.split()[0].split("-")
            return int(end, 16) - int(start, 16)
    return 0

tune_memory()
before = heap_size()
pieces = [bytes(1024 * 1024) for _ in range(int(sys.argv[1]))]
del pieces
print(heap_size() - before)
"""


def kept_of(mebibytes: int) -> int:
    """Return how many bytes of so many a process still has when they were freed."""
    command = [sys.executable, "-c", HEAP_AFTER, str(mebibytes)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_what_a_connection_has_freed_is_kept_for_the_next_pieces() -> None:
    assert kept_of(3) >= 3 * MIB


def test_what_a_peak_has_freed_goes_back() -> None:
    assert kept_of(40) <= 5 * MIB
