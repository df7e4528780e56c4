"""Packets between namespace holders and their clients."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cmux_proxy.isolation.messages import escape_unprintable, receive, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return two connected sockets that preserve packet boundaries."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with first, second:
        yield first, second


def test_fields_and_descriptors_arrive_packet_by_packet(pair: Pair) -> None:
    reading, writing = os.pipe()
    send(pair[0], {"ask": "join", "name": "ä"}, [writing])
    send(pair[0], {})
    os.close(writing)
    first = receive(pair[1])
    assert (first.fields, receive(pair[1]).fields) == ({"ask": "join", "name": "ä"}, {})
    (descriptor,) = first.descriptors
    os.write(descriptor, b"through")
    assert not os.get_inheritable(descriptor)
    first.close()
    assert (os.read(reading, 10), os.read(reading, 10)) == (b"through", b"")
    os.close(reading)


@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b"\xff\xfe", b"null"])
def test_a_packet_without_a_json_object_is_refused_and_its_descriptors_closed(
    pair: Pair, data: bytes
) -> None:
    reading, writing = os.pipe()
    socket.send_fds(pair[0], [data], [writing])
    os.close(writing)
    with pytest.raises(ValueError, match="not a JSON object"):
        receive(pair[1])
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_the_end_raises_another_error_than_an_invalid_message(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(EOFError):
        receive(pair[1])


@pytest.mark.parametrize("fields", [{}, {"commands": [[n, "workspace"] for n in range(3000)]}])
def test_a_message_arrives_completely(pair: Pair, fields: dict[str, Any]) -> None:
    send(pair[0], fields)
    assert receive(pair[1]).fields == fields


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("agent-1", "agent-1"), ("a b\\c", "a b\\c"), ("\u00e4", "\u00e4"),
        ("\x1b[31m", "\\x1b[31m"), ("a\nb\r\t\0", "a\\nb\\r\\t\\x00"), ("\x9b2J", "\\x9b2J"),
        ("\u202eb", "\\u202eb"), ("\ud800", "\\ud800"), (7, "7"),
    ],
)  # fmt: skip
def test_control_characters_are_escaped(text: object, escaped: str) -> None:
    assert escape_unprintable(text) == escaped
