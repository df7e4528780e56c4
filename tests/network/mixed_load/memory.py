"""What a proxy process holds: descriptors and resident memory."""

import asyncio
import contextlib
import re
from collections import Counter
from typing import NamedTuple

from tests.helpers.proxies import ProxyProcess
from tests.helpers.timing import LATER, MS


class Footprint(NamedTuple):
    """What a process holds: descriptors, and the memory that it has now and had at most."""

    descriptors: dict[str, str]
    resident: int
    peak: int

    def __str__(self) -> str:
        kinds = f"{len(self.descriptors)} descriptors"
        return f"{kinds}, {self.resident >> 10} KiB resident, {self.peak >> 10} KiB at most"


def footprint(proxy: ProxyProcess) -> Footprint:
    """Return what it holds; OSError when it has ended."""
    with open(f"/proc/{proxy.pid}/status", encoding="ascii") as status:
        match = re.search(r"VmRSS:\s+([0-9]+) kB", status.read())
    if match is None:
        raise ProcessLookupError
    return Footprint(proxy.descriptors(), int(match[1]) * 1024, proxy.peak_memory())


def passing(descriptors: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """Leave out the one pipe that a worker keeps once it has had a large transfer."""
    counts = Counter(what for what in descriptors.values() if what.startswith("pipe:"))
    new = [pipe for pipe, ends in counts.items() if ends == 2 and pipe not in before.values()]
    return {number: what for number, what in descriptors.items() if what not in new[:1]}


async def settled_footprint(proxy: ProxyProcess, before: Footprint) -> Footprint:
    """Return what it holds as soon as it has the descriptors that it had `before`, or at last."""
    now: dict[str, str] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LATER):
            while now != before.descriptors:
                # Nothing tells when the proxy closes one, so one looks again and again.
                await asyncio.sleep(20 * MS)
                now = passing(proxy.descriptors(), before.descriptors)
    return footprint(proxy)
