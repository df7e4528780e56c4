"""The descriptors and the resident memory of a proxy process."""

import asyncio
import contextlib
import re
from collections import Counter
from typing import NamedTuple

from tests.helpers.proxies import ProxyProcess
from tests.helpers.timing import LATER, MS


class Footprint(NamedTuple):
    """The descriptors of a process, and its current and peak memory in bytes."""

    descriptors: dict[str, str]
    resident: int
    peak: int

    def __str__(self) -> str:
        descriptors = f"{len(self.descriptors)} descriptors"
        return f"{descriptors}, {self.resident >> 10} KiB resident, {self.peak >> 10} KiB peak"


def footprint(proxy: ProxyProcess) -> Footprint:
    """Return the footprint of a process; raise OSError if it has ended."""
    with open(f"/proc/{proxy.pid}/status", encoding="ascii") as status:
        match = re.search(r"VmRSS:\s+([0-9]+) kB", status.read())
    if match is None:
        raise ProcessLookupError
    return Footprint(proxy.descriptors(), int(match[1]) * 1024, proxy.peak_memory())


def without_splice_pipe(descriptors: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """Leave out the pipe that a worker keeps after its first large transfer."""
    counts = Counter(target for target in descriptors.values() if target.startswith("pipe:"))
    new = [pipe for pipe, ends in counts.items() if ends == 2 and pipe not in before.values()]
    return {number: target for number, target in descriptors.items() if target not in new[:1]}


async def settled_footprint(proxy: ProxyProcess, before: Footprint) -> Footprint:
    """Return the footprint when the descriptors are those of `before`, or after a timeout."""
    now: dict[str, str] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LATER):
            while now != before.descriptors:
                # There is no event for a closed descriptor, so the test polls.
                await asyncio.sleep(20 * MS)
                now = without_splice_pipe(proxy.descriptors(), before.descriptors)
    return footprint(proxy)
