"""What keepers are asked and answer: one JSON object in each packet, and descriptors beside it.

    {"ask": "join", "name": NAME, "pid": N} and a pidfd    the namespaces
    {"ask": "socket", "family": N}                         a TCP socket of the namespace
    {"ask": "status"}                                      names, commands, ports, and the namespace

An answer that has "error" is a refusal.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

LARGEST: Final = 128 * 1024
_MOST_DESCRIPTORS: Final = 4


class Message(NamedTuple):
    """A packet: its fields, and the descriptors that came with it, now the receiver's to close."""

    fields: dict[str, Any]
    descriptors: list[int]

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def send(channel: socket.socket, fields: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a packet whole, or raise OSError."""
    socket.send_fds(channel, [json.dumps(fields).encode("ascii")], descriptors)


def receive(channel: socket.socket) -> Message:
    """Return the next packet; raise EOFError at the end, ValueError if it is no message."""
    data, descriptors, _flags, _address = socket.recv_fds(channel, LARGEST, _MOST_DESCRIPTORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    fields = _fields(data)
    message = Message(fields or {}, descriptors)
    if fields is None:
        message.close()
        if not data:
            raise EOFError
        raise ValueError("not a JSON object")
    return message


def printable(text: object) -> str:
    """Return what a peer said with escapes in the place of what a terminal would obey."""
    return "".join(each if each.isprintable() else _escape(each) for each in str(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _fields(data: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(data)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None
