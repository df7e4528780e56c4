"""The checks after a step: every received byte belongs to this step, and to its receiver."""

import re
from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import request_framing
from cmux_proxy.http1.request_body import request_body
from fuzz.network.dialogues import CLIENT, UPSTREAM
from fuzz.network.peers import Failure
from fuzz.network.record import Record
from fuzz.network.steps import RESET, Closing, mark
from tests.helpers.judging import CHUNKS, REQUESTS

_MARK: Final = re.compile(rb"m[0-9]{7}x")
# A response of the proxy itself.
_OWN: Final = re.compile(
    rb"HTTP/1\.1 [45][0-9][0-9] [^\r]*\r\n.*\r\nProxy-Status: cmux-proxy; error=.*", re.DOTALL
)
_CHUNK: Final = re.compile(rb"([0-9a-f]+)\r\n")
_SHOWN: Final = 1500


def check_step(record: Record) -> None:
    """Raise Failure unless each side received its own bytes, and all bytes that it had to."""
    for side in (CLIENT, UPSTREAM):
        _check_marks(record, side)
    if record.step.is_mutated:
        if not record.step.dialogue.is_tunnel:
            _check_requests(record)
    elif record.step.is_whole:
        _check_whole(record)
    else:
        _check_beginnings(record)


def _check_marks(record: Record, side: str) -> None:
    """Check that marks in received bytes are of this step, or were sent in it by a mutation."""
    own = {mark(record.number)}
    for sent in record.sent.values():
        own.update(_MARK.findall(sent))
    foreign = set(_MARK.findall(record.received(side))) - own
    if foreign:
        raise Failure(f"the {side} receives {foreign}: {_shown(record.received(side))}")


def _check_whole(record: Record) -> None:
    for side in (CLIENT, UPSTREAM):
        received, expected = record.received(side), record.expected(side)
        if any(turn.is_opaque and turn.side != side for turn in record.step.dialogue.turns):
            if _OWN.fullmatch(received) is None:
                raise Failure(f"the {side} receives no response of the proxy: {_shown(received)}")
        elif _plain(record, side, received) != _plain(record, side, expected):
            raise Failure(f"the {side} receives {_shown(received)}\ninstead of {_shown(expected)}")


def _check_beginnings(record: Record) -> None:
    """Check that each side received a beginning, or one followed by a response of the proxy."""
    _check_not_sent_twice(record)
    expected = record.expected(UPSTREAM)
    starts = [0]
    for turn in record.step.dialogue.turns:
        if turn.side == CLIENT:
            starts.append(starts[-1] + len(turn.forwarded))
    for upstream in record.upstreams:
        received = bytes(upstream.received)
        if not any(expected.startswith(received, start) for start in starts):
            raise Failure(f"the upstream receives {_shown(received)}\nand not {_shown(expected)}")
    received = record.received(CLIENT)
    if not _is_beginning(record, received):
        expected = record.expected(CLIENT)
        raise Failure(f"the client receives {_shown(received)}\nand not {_shown(expected)}")
    _check_not_read_as_complete(record, received)


def _check_not_sent_twice(record: Record) -> None:
    """Check that only a safe request was sent again, once, over another connection."""
    starts = b"".join(bytes(upstream.received[:4]) for upstream in record.upstreams)
    if starts.count(b"POST") > 1 or len(record.upstreams) > 2 * len(record.step.dialogue.turns):
        raise Failure(
            f"a request was sent again that must not be: {record.received(UPSTREAM)[:_SHOWN]!r}"
        )


def _is_beginning(record: Record, received: bytes) -> bool:
    expected = _plain(record, CLIENT, record.expected(CLIENT))
    if expected.startswith(_plain(record, CLIENT, received).removesuffix(_END)):
        return True
    starts = [match.start() for match in re.finditer(rb"HTTP/1\.1 ", received)]
    return any(
        _OWN.fullmatch(received, start) is not None
        and expected.startswith(_plain(record, CLIENT, received[:start]))
        for start in starts
    )


def _check_not_read_as_complete(record: Record, received: bytes) -> None:
    """Check that an incomplete response ends in a reset, or without its last chunk.

    This holds after an upstream's reset; any other end may be the end of the response.
    """
    step = record.step
    if (
        step.closings != (Closing(UPSTREAM, RESET),)
        or step.dialogue.turns[step.turn].side == CLIENT
    ):
        return
    if step.position == len(step.dialogue.turns[step.turn].sent) or not received.startswith(
        b"HTTP/1.1 200"
    ):
        return
    if step.dialogue.is_wrapped and _plain(record, CLIENT, received).endswith(_END):
        raise Failure(f"an incomplete response that looks complete: {_shown(received)}")
    is_by_close = b"Connection: close\r\n" in received
    if is_by_close and not step.dialogue.is_wrapped and not record.client.was_reset:
        raise Failure(
            f"an incomplete response that ends as if it were complete: {_shown(received)}"
        )


_END: Final = b"(end)"


def _plain(record: Record, side: str, received: bytes) -> bytes:
    """Return the received bytes without the chunks that the proxy has added."""
    if side != CLIENT or not record.step.dialogue.is_wrapped:
        return received
    head, blank, body = received.partition(b"\r\n\r\n")
    plain = head + blank
    while (line := _CHUNK.match(body)) is not None:
        size = int(line[1], 16)
        plain += body[line.end() : line.end() + size] if size else _END
        body = body[line.end() + size + 2 :]
    return plain


def _check_requests(record: Record) -> None:
    """Check that forwarded requests would be accepted by the proxy itself."""
    for upstream in record.upstreams:
        remaining = bytes(upstream.received)
        try:
            while remaining:
                remaining = _after_request(remaining)
        except BadMessage as error:
            text = f"the upstream receives an invalid request ({error})"
            raise Failure(f"{text}: {_shown(bytes(upstream.received))}") from None


def _after_request(data: bytes) -> bytes:
    head = REQUESTS.scan(data, 0)
    if head is None or head.upgrade is not None:
        return b""
    framing = request_framing(head)
    if framing == 0:
        return data[head.end :]
    body = request_body(framing, CHUNKS)
    body.feed(data, head.end)
    return body.trailing_data


def _shown(data: bytes) -> str:
    return f"{data[:_SHOWN]!r}" + (f" ... {len(data)} bytes" if len(data) > _SHOWN else "")
