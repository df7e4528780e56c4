"""The protocol between a namespace holder and its clients: packets of JSON, and descriptors.

    request                                                response
    {"ask": "join", "name": NAME, "pid": N} and a pidfd    the namespaces, as descriptors
    {"ask": "socket", "family": N}                         a TCP socket of the namespace
    {"ask": "status"}                                      names, commands, ports and namespace

A response that has "error" is a refusal.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

_MAX_MESSAGE_SIZE: Final = 128 * 1024
_MAX_DESCRIPTORS: Final = 4


class Message(NamedTuple):
    """The fields of a packet, and the descriptors that came with it; the receiver closes them."""

    fields: dict[str, Any]
    descriptors: list[int]

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def send(channel: socket.socket, fields: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a complete packet, or raise OSError."""
    socket.send_fds(channel, [json.dumps(fields).encode("ascii")], descriptors)


def receive(channel: socket.socket) -> Message:
    """Return the next packet; raise EOFError at the end, ValueError if it is not a JSON object."""
    data, descriptors, _flags, _address = socket.recv_fds(
        channel, _MAX_MESSAGE_SIZE, _MAX_DESCRIPTORS
    )
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    fields = _parse_fields(data)
    message = Message(fields or {}, descriptors)
    if fields is None:
        message.close()
        if not data:
            raise EOFError
        raise ValueError("not a JSON object")
    return message


def escape_unprintable(text: object) -> str:
    """Return a text of a peer with escapes for control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else _escape(char) for char in str(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _parse_fields(data: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(data)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None
