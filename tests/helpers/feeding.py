"""Feeds scanners and bodies in every way that bytes may arrive; no way may change the outcome.

A message is fed whole, byte by byte, cut in two at every place, in random pieces, with other
bytes before it where the interface has an offset, and with other bytes behind it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

from cmux_proxy.http1.body import Body
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead, ResponseHead

Head = RequestHead | ResponseHead
H_co = TypeVar("H_co", bound=Head, covariant=True)
H = TypeVar("H", bound=Head)

# What a pipelining client may have sent behind a message: looks like one, and holds a blank line.
BEHIND = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"
# A message longer than this is not cut in two at every place, but at so many.
_MOST_CUTS = 200
_OBJECTS = ("buffer", "fields")


class Scanner(Protocol[H_co]):
    """What RequestScanner and ResponseScanner have in common."""

    def scan(self, buffer: bytes, searched: int) -> H_co | None:
        """Return the head at the start of the buffer, if it is whole."""


class Fed(NamedTuple):
    """What a body made of its bytes."""

    out: bytes
    is_done: bool
    rest: bytes


def split_at(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return the pieces between the cuts; empty ones are left out."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Return every byte as a piece."""
    return [data[i : i + 1] for i in range(len(data))]


def ways_to_arrive(data: bytes) -> Iterator[list[bytes]]:
    """Yield the pieces in which the bytes may arrive; the whole comes first."""
    yield [data]
    yield byte_by_byte(data)
    for cut in range(1, len(data), max(1, len(data) // _MOST_CUTS)):
        yield [data[:cut], data[cut:]]
    dice = random.Random(len(data))
    for _ in range(5):
        yield split_at(data, [dice.randrange(len(data) + 1) for _ in range(6)])


def facts(head: Head) -> dict[str, object]:
    """Return all that a scan learned, and the bytes of the head instead of the buffer's."""
    line = {name: getattr(head, name) for name in attributes(head) if name not in _OBJECTS}
    return {**line, **known(head.fields), **known(head.spans()), "head": head.buffer[: head.end]}


def assert_sound(head: Head) -> None:
    """The cuts are whole lines, in order, apart from each other; what is kept is the rest."""
    block = head.section()
    spans = head.spans()
    lines = block.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    position = 0
    kept = b""
    for start, end in spans.cuts:
        assert position <= start < end <= len(block) - 2
        assert start == 0 or block[start - 2 : start] == b"\r\n"
        assert block.index(b"\r\n", start) + 2 == end
        kept += block[position:start]
        position = end
    renewed = b"TE: trailers\r\nConnection: TE\r\n" if spans.accepts_trailers else b""
    kept += block[position:-2] + renewed + b"\r\n"
    assert head.stripped == head.buffer[: head.line_end] + kept
    assert {*spans.connection_lines, *spans.upgrade_lines} <= set(spans.cuts)


def attributes(facts_object: object) -> list[str]:
    """Return the names of its attributes, in either build: compiled classes have no slots."""
    names: dict[str, None] = {}
    for kind in reversed(type(facts_object).__mro__):
        known: Any = kind.__dict__
        names |= dict.fromkeys(known.get("__slots__") or known.get("__mypyc_attrs__") or ())
    return list(names)


def known(facts_object: object) -> dict[str, object]:
    """Return all facts of a header section, or all spans."""
    return {name: getattr(facts_object, name) for name in attributes(facts_object)}


def scan_pieces(scanner: Scanner[H], pieces: Sequence[bytes]) -> tuple[H | None, list[bytes]]:
    """Scan as a connection does; return the head and the pieces that came after it."""
    buffer = b""
    searched = 0
    for number, piece in enumerate(pieces, 1):
        buffer += piece
        head = scanner.scan(buffer, searched)
        if head is not None:
            return head, list(pieces[number:])
        searched = len(buffer)
    return None, []


def scan(scanner: Scanner[H], data: bytes) -> H:
    """Scan one head in every way, alone and with bytes behind it; return what the whole gave."""
    whole = scanner.scan(data, 0)
    assert whole is not None, "the head is not complete"
    assert whole.end == len(data), "there are bytes behind the head"
    for pieces in (*ways_to_arrive(data), *ways_to_arrive(data + BEHIND)):
        head, _ = scan_pieces(scanner, pieces)
        assert head is not None, f"no head in {pieces}"
        assert facts(head) == facts(whole), f"other facts in {pieces}"
    return whole


def scan_unfinished(scanner: Scanner[H], data: bytes) -> None:
    """Assert that no way of arriving makes a head, or a refusal, of these bytes."""
    for pieces in ways_to_arrive(data):
        assert scan_pieces(scanner, pieces)[0] is None


def scan_refused(scanner: Scanner[H], data: bytes) -> BadMessage:
    """Assert that a head is refused in every way with one status; return the whole's refusal."""
    whole = _refusal(lambda: scanner.scan(data, 0))
    for pieces in ways_to_arrive(data):
        error = _refusal(partial(scan_pieces, scanner, pieces))
        assert error.status == whole.status, f"{error} in {pieces}"
    return whole


def feed_pieces(body: Body, pieces: Sequence[bytes], before: bytes = b"") -> Fed:
    """Feed a body until it is done; each piece arrives behind other bytes, which it passes over."""
    out = b""
    left = list(pieces)
    while left and not body.is_done:
        out += body.feed(before + left.pop(0), len(before))
    return Fed(out, body.is_done, body.trailing_data + b"".join(left))


def feed(new: Callable[[], Body], data: bytes) -> Fed:
    """Feed a body in every way, alone and with bytes behind it; return what the whole gave.

    A body that is done leaves alone whatever comes behind it.
    """
    whole = _feed_every_way(new, data)
    if whole.is_done:
        more = _feed_every_way(new, data + BEHIND)
        assert more == Fed(whole.out, True, whole.rest + BEHIND)
    return whole


def feed_refused(new: Callable[[], Body], data: bytes) -> BadMessage:
    """Assert that a body is refused in every way, for one reason; return the refusal."""
    whole = _refusal(lambda: new().feed(data, 0))
    for pieces in ways_to_arrive(data):
        error = _refusal(partial(feed_pieces, new(), pieces))
        assert (error.status, error.reason) == (whole.status, whole.reason), f"in {pieces}"
    return whole


def _feed_every_way(new: Callable[[], Body], data: bytes) -> Fed:
    whole = feed_pieces(new(), [data])
    for pieces in ways_to_arrive(data):
        assert feed_pieces(new(), pieces) == whole, f"another outcome in {pieces}"
        behind = feed_pieces(new(), pieces, before=b"Head: x\r\n\r\n")
        assert behind == whole, f"another outcome behind a head in {pieces}"
    return whole


def _refusal(action: Callable[[], object]) -> BadMessage:
    try:
        result = action()
    except BadMessage as error:
        return error
    raise AssertionError(f"not refused: {result}")
