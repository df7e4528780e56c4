"""What is wrong, in a line each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.soak.footprint import Footprint

_MIB: Final = 1 << 20
_LEAST_TOLERANCE: Final = 2 * _MIB
_SHARE: Final = 0.05


@dataclass(frozen=True)
class Readings:
    """What the proxy held before everything, after the warm-up, at the end, and after everything.

    That after the warm-up and that at the end are of moments without traffic, with all WebSockets
    open; before everything and after everything there are none.
    """

    start: Footprint
    first: Footprint
    last: Footprint
    closed: Footprint


def tolerance(first: Footprint, most_growth: float | None) -> int:
    """Return by how many bytes resident memory may have grown.

    The allocator does not give back what is scattered, and how much that is depends on chance; a
    leak of 100 bytes per exchange would be 2 MiB after a minute of traffic.
    """
    if most_growth is not None:
        return int(most_growth * _MIB)
    return max(_LEAST_TOLERANCE, int(first.resident * _SHARE))


def judge(readings: Readings, websockets: int, most_growth: float | None) -> Iterator[str]:
    """Compare the readings."""
    start, first, last, closed = readings.start, readings.first, readings.last, readings.closed
    for name, reading in (("first", first), ("last", last), ("closed", closed)):
        if reading.pids != start.pids:
            yield f"{name}: a worker has died: {reading.pids} instead of {start.pids}"
    wanted = start.sockets + 2 * websockets
    if first.sockets != wanted:
        yield f"{first.sockets} sockets after the warm-up instead of {wanted}"
    yield from _descriptors("at the end", last, first, len(start.pids))
    yield from _descriptors("after everything", closed, start, len(start.pids))
    grown = last.resident - first.resident
    allowed = tolerance(first, most_growth)
    if grown > allowed:
        yield (
            f"resident memory has grown by {grown / _MIB:.1f} MiB, from "
            f"{first.resident / _MIB:.1f}, and {allowed / _MIB:.1f} are allowed"
        )


def _descriptors(when: str, now: Footprint, before: Footprint, processes: int) -> Iterator[str]:
    """Every kind has to be as it was; of pipes each process keeps one after a large transfer."""
    for kind in sorted(now.descriptors.keys() | before.descriptors.keys()):
        count, was = now.descriptors.get(kind, 0), before.descriptors.get(kind, 0)
        more = 2 * processes if kind == "pipe" else 0
        if not was <= count <= was + more:
            yield f"{count} descriptors of kind {kind} {when} instead of {was}"
