"""What the keepers of all isolated workspaces say about them."""

import socket
from typing import Any, Final, NamedTuple

from cmux_proxy.isolation.messages import printable, receive, send
from cmux_proxy.isolation.registry import Registry

# A keeper that has been stopped is left out, rather than waited for.
_ANSWERS_WITHIN: Final = 2.0
# No workspace has a longer one.
_LONGEST_NAME: Final = 255


class Command(NamedTuple):
    """A command of a workspace: its process, and the name under which it entered."""

    pid: int
    workspace: str


class Status(NamedTuple):
    """An isolated workspace: who is in it, what is listened on, and its namespace's number."""

    address: str
    commands: list[Command]
    ports: list[int]
    namespace: int


def statuses(registry: Registry) -> list[Status]:
    """Return those of the workspaces that are there now, in the order of their addresses."""
    found = [_status(registry, address) for address in registry.addresses()]
    return [status for status in found if status is not None]


def _status(registry: Registry, address: str) -> Status | None:
    try:
        channel = registry.connect(address, _ANSWERS_WITHIN)
        if channel is None:
            return None
        with channel:
            return _read(address, _ask(channel))
    except (OSError, EOFError):
        return None  # it is just leaving
    except (ValueError, TypeError, KeyError):
        return None  # it is no keeper, or has none of these


def _read(address: str, said: dict[str, Any]) -> Status:
    """Read an answer, which may be anything: whoever is inside a workspace can be its keeper."""
    commands = [
        Command(int(pid), printable(name)[:_LONGEST_NAME]) for pid, name in said["commands"]
    ]
    return Status(address, commands, list(map(int, said["ports"])), int(said["namespace"]))


def _ask(channel: socket.socket) -> dict[str, Any]:
    send(channel, {"ask": "status"})
    message = receive(channel)
    message.close()
    return message.fields
