"""Feeds scanners and bodies with bytes that are split in many ways; the result has to be the same.

A message is fed whole, byte by byte, split in two at every position, in random pieces, with other
bytes before it if the interface has an offset, and with other bytes after it.
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

# A pipelined request: bytes after a message that look like a message and have a blank line.
NEXT_REQUEST = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"
# The largest number of positions at which a message is split in two.
_MAX_SPLITS = 200
# Attributes that are not facts of the head alone: they have the bytes behind it too.
_OBJECTS = ("_finder", "buffer", "spliced")


class Scanner(Protocol[H_co]):
    """What RequestScanner and ResponseScanner have in common."""

    def scan(self, buffer: bytes, searched: int) -> H_co | None:
        """Return the head at the start of the buffer, if it is whole."""


class Fed(NamedTuple):
    """The result of feeding a body."""

    output: bytes
    is_done: bool
    trailing_data: bytes


def split_at(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return the pieces between the cuts; empty ones are left out."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Return every byte as a piece."""
    return [data[i : i + 1] for i in range(len(data))]


def ways_to_split(data: bytes) -> Iterator[list[bytes]]:
    """Yield lists of pieces of the bytes; the first is all bytes in one piece."""
    yield [data]
    yield byte_by_byte(data)
    for cut in range(1, len(data), max(1, len(data) // _MAX_SPLITS)):
        yield [data[:cut], data[cut:]]
    dice = random.Random(len(data))
    for _ in range(5):
        yield split_at(data, [dice.randrange(len(data) + 1) for _ in range(6)])


def facts(head: Head) -> dict[str, object]:
    """Return all facts of a head, and the bytes of the head instead of its buffer."""
    line = {name: getattr(head, name) for name in attributes(head) if name not in _OBJECTS}
    return {
        **line,
        **attribute_values(head.spans()),
        "line_end": head.line_end,
        "stripped": head.stripped,
        "target": head.target if isinstance(head, RequestHead) else None,
        "head": head.buffer[: head.end],
    }


def assert_sound(head: Head) -> None:
    """Assert that cuts are whole lines, in order and disjoint, and that other lines are kept."""
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
    """Return the names of its attributes in either build; compiled classes have no slots."""
    names: dict[str, None] = {}
    for base in reversed(type(facts_object).__mro__):
        members: Any = base.__dict__
        names |= dict.fromkeys(members.get("__slots__") or members.get("__mypyc_attrs__") or ())
    return list(names)


def attribute_values(facts_object: object) -> dict[str, object]:
    """Return all facts of a header section, or all spans."""
    return {name: getattr(facts_object, name) for name in attributes(facts_object)}


def scan_pieces(scanner: Scanner[H], pieces: Sequence[bytes]) -> tuple[H | None, list[bytes]]:
    """Scan as a connection does; return the head and the pieces after it."""
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
    """Scan a head that is split in many ways, alone and with bytes after it; return the head."""
    whole = scanner.scan(data, 0)
    assert whole is not None, "the head is not complete"
    assert whole.end == len(data), "there are bytes after the head"
    for pieces in (*ways_to_split(data), *ways_to_split(data + NEXT_REQUEST)):
        head, _ = scan_pieces(scanner, pieces)
        assert head is not None, f"no head in {pieces}"
        assert facts(head) == facts(whole), f"other facts in {pieces}"
    return whole


def scan_unfinished(scanner: Scanner[H], data: bytes) -> None:
    """Assert that these bytes, split in any way, are neither a head nor refused."""
    for pieces in ways_to_split(data):
        assert scan_pieces(scanner, pieces)[0] is None


def scan_refused(scanner: Scanner[H], data: bytes) -> BadMessage:
    """Assert that a head is refused with one status, split in any way; return the refusal."""
    whole = _refusal(lambda: scanner.scan(data, 0))
    for pieces in ways_to_split(data):
        error = _refusal(partial(scan_pieces, scanner, pieces))
        assert error.status == whole.status, f"{error} in {pieces}"
    return whole


def feed_pieces(body: Body, pieces: Sequence[bytes], before: bytes = b"") -> Fed:
    """Feed a body until it is done; `before` is put before each piece and skipped."""
    output = b""
    remaining = list(pieces)
    while remaining and not body.is_done:
        output += body.feed(before + remaining.pop(0), len(before))
    return Fed(output, body.is_done, body.trailing_data + b"".join(remaining))


def feed(new: Callable[[], Body], data: bytes) -> Fed:
    """Feed a body that is split in many ways, alone and with bytes after it; return the result.

    A body that is done does not read the bytes after it.
    """
    whole = _feed_every_way(new, data)
    if whole.is_done:
        with_next = _feed_every_way(new, data + NEXT_REQUEST)
        assert with_next == Fed(whole.output, True, whole.trailing_data + NEXT_REQUEST)
    return whole


def feed_refused(new: Callable[[], Body], data: bytes) -> BadMessage:
    """Assert that a body is refused for one reason, split in any way; return the refusal."""
    whole = _refusal(lambda: new().feed(data, 0))
    for pieces in ways_to_split(data):
        error = _refusal(partial(feed_pieces, new(), pieces))
        assert (error.status, error.reason) == (whole.status, whole.reason), f"in {pieces}"
    return whole


def _feed_every_way(new: Callable[[], Body], data: bytes) -> Fed:
    whole = feed_pieces(new(), [data])
    for pieces in ways_to_split(data):
        assert feed_pieces(new(), pieces) == whole, f"another outcome in {pieces}"
        after_head = feed_pieces(new(), pieces, before=b"Head: x\r\n\r\n")
        assert after_head == whole, f"another outcome after a head in {pieces}"
    return whole


def _refusal(action: Callable[[], object]) -> BadMessage:
    try:
        result = action()
    except BadMessage as error:
        return error
    raise AssertionError(f"not refused: {result}")
