"""The problems that the soak reports, and the errors that it excuses."""

import contextlib
import errno
import socket
from dataclasses import replace
from typing import Final

import pytest

from bench.soak import websocket
from bench.soak.footprint import Footprint
from bench.soak.options import FixedPorts
from bench.soak.restarts import excuse
from bench.soak.verdict import Readings, judge
from tests.network.mixed_load.plans import Plan
from tests.network.mixed_load.world import Mismatch

MIB: Final = 1 << 20
START: Final = Footprint((1, 2), 20 * MIB, {"pipe": 4, "socket": 4})
FIRST: Final = Footprint((1, 2), 100 * MIB, {"pipe": 6, "socket": 204})
CLOSED: Final = replace(START, resident=100 * MIB)
GOOD: Final = Readings(START, FIRST, FIRST, CLOSED)


def problems(readings: Readings) -> list[str]:
    """Return the problems in readings with 100 WebSockets."""
    return list(judge(readings, 100, None))


def refusal(status: str, error: str) -> bytes:
    """Return a head of a response of the proxy itself."""
    return f"HTTP/1.1 {status}\r\nProxy-Status: cmux-proxy; error={error}".encode()


def mismatch(name: str, what: str, got: bytes, expected: bytes) -> Mismatch:
    """Return an error about a request with that name."""
    return Mismatch(Plan(name, "k1", 10, 10), what, got, expected)


def test_equal_readings_have_no_problems() -> None:
    assert problems(GOOD) == []


def test_memory_may_grow_a_little_and_a_worker_may_keep_a_pipe() -> None:
    last = Footprint((1, 2), 105 * MIB, {"pipe": 8, "socket": 204})
    assert problems(replace(GOOD, last=last)) == []


WRONG: Final = {
    "a socket more at the end": ("last", {"descriptors": {"pipe": 6, "socket": 205}}),
    "a socket less at the end": ("last", {"descriptors": {"pipe": 6, "socket": 203}}),
    "a new type": ("last", {"descriptors": {"pipe": 6, "socket": 204, "file": 1}}),
    "too many pipes": ("last", {"descriptors": {"pipe": 11, "socket": 204}}),
    "too much memory": ("last", {"resident": 105 * MIB + 1}),
    "another worker": ("last", {"pids": (1, 3)}),
    "a socket more than there are WebSockets": (
        "first", {"descriptors": {"pipe": 6, "socket": 205}},
    ),
    "a socket left over": ("closed", {"descriptors": {"pipe": 4, "socket": 5}}),
}  # fmt: skip


@pytest.mark.parametrize(("reading", "change"), WRONG.values(), ids=WRONG)
def test_different_readings_are_problems(reading: str, change: dict[str, object]) -> None:
    changed = replace(getattr(GOOD, reading), **change)
    assert problems(replace(GOOD, **{reading: changed})) != []


EXCUSED: Final = {
    "refused": mismatch("echo", "head", refusal("502 X", "connection_refused"), b"a"),
    "terminated": mismatch("echo", "head", refusal("502 X", "connection_terminated"), b"a"),
    "reset": ConnectionResetError(),
    "closed": EOFError(),
    "not connected any more": OSError(errno.ENOTCONN, "not connected"),
    "a shorter body until close": mismatch("until-close", "body", b"ab", b"abc"),
    "a shorter conversation": mismatch("client-first", "bytes", b"a", b"abc"),
    "no conversation": mismatch("client-first", "bytes", b"", b"abc"),
}
NEVER: Final = {
    "another error": mismatch("echo", "head", refusal("502 X", "http_protocol_error"), b"a"),
    "another status": mismatch("echo", "head", refusal("503 X", "connection_refused"), b"a"),
    "the upstream's own 502": mismatch("echo", "head", b"HTTP/1.1 502 Bad Gateway", b"a"),
    "other content": mismatch("until-close", "body", b"ax", b"abc"),
    "more content": mismatch("client-first", "bytes", b"abcd", b"abc"),
    "a shorter body of known length": mismatch("length", "body", b"ab", b"abc"),
    "too late": TimeoutError(),
    "unexpected bytes": AssertionError("unexpected b'x'"),
}


@pytest.mark.parametrize("error", EXCUSED.values(), ids=EXCUSED)
def test_a_restart_excuses_errors_that_it_can_cause(error: Exception) -> None:
    assert excuse(error)


@pytest.mark.parametrize("error", NEVER.values(), ids=NEVER)
def test_a_restart_does_not_excuse_other_errors(error: Exception) -> None:
    assert not excuse(error)


@pytest.mark.parametrize("mask", [b"", b"\x01\x80\xff\x00"], ids=["unmasked", "masked"])
def test_messages_are_read_from_frames_unchanged(mask: bytes) -> None:
    whole = websocket.frame(b"one", mask) + websocket.frame(bytes(125), mask)
    buffer = bytearray()
    messages = []
    for index in range(len(whole)):
        buffer += whole[index : index + 1]
        if (message := websocket.take_message(buffer)) is not None:
            messages.append(message)
    assert messages == [b"one", bytes(125)]
    assert not buffer


def test_the_response_has_the_accept_value_of_the_rfc() -> None:
    # RFC 6455 section 1.3 has this pair.
    response = websocket.response("dGhlIHNhbXBsZSBub25jZQ==")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response


def test_a_held_port_is_usable_by_services_and_by_no_other_program() -> None:
    first, second = FixedPorts(3), FixedPorts(3)
    with contextlib.closing(first), contextlib.closing(second):
        assert len({*first.numbers, *second.numbers}) == 6
        address = ("127.0.0.1", first.numbers[0])
        for _ in range(2):
            with socket.socket() as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.listen()
                socket.create_connection(address).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
