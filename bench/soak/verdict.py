"""Compares the readings; each problem is one line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.soak.footprint import Footprint

_MIB: Final = 1 << 20
_MIN_TOLERANCE: Final = 2 * _MIB
_SHARE: Final = 0.05


@dataclass(frozen=True)
class Readings:
    """Footprints of the proxy: at the start, after the warm-up, at the end, and after closing.

    `first` and `last` are taken without traffic and with all WebSockets open, `start` and `closed`
    without any connection.
    """

    start: Footprint
    first: Footprint
    last: Footprint
    closed: Footprint


def tolerance(first: Footprint, max_growth: float | None) -> int:
    """Return by how many bytes resident memory may grow.

    The allocator does not return fragmented memory, and its amount is random. A leak of 100 bytes
    per exchange would be 2 MiB after a minute of traffic.
    """
    if max_growth is not None:
        return int(max_growth * _MIB)
    return max(_MIN_TOLERANCE, int(first.resident * _SHARE))


def judge(readings: Readings, websockets: int, max_growth: float | None) -> Iterator[str]:
    """Yield the problems in the readings."""
    start, first, last, closed = readings.start, readings.first, readings.last, readings.closed
    for name, reading in (("first", first), ("last", last), ("closed", closed)):
        if reading.pids != start.pids:
            yield f"{name}: a worker has died: {reading.pids} instead of {start.pids}"
    expected = start.sockets + 2 * websockets
    if first.sockets != expected:
        yield f"{first.sockets} sockets after the warm-up instead of {expected}"
    yield from _descriptors("at the end", last, first, len(start.pids))
    yield from _descriptors("after closing", closed, start, len(start.pids))
    grown = last.resident - first.resident
    allowed = tolerance(first, max_growth)
    if grown > allowed:
        yield (
            f"resident memory has grown by {grown / _MIB:.1f} MiB, from "
            f"{first.resident / _MIB:.1f}, and {allowed / _MIB:.1f} are allowed"
        )


def _descriptors(when: str, now: Footprint, before: Footprint, processes: int) -> Iterator[str]:
    """Yield types whose count differs; each process may keep one pipe after a large transfer."""
    for name in sorted(now.descriptors.keys() | before.descriptors.keys()):
        count, was = now.descriptors.get(name, 0), before.descriptors.get(name, 0)
        more = 2 * processes if name == "pipe" else 0
        if not was <= count <= was + more:
            yield f"{count} descriptors of type {name} {when} instead of {was}"
