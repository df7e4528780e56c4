"""The status of all isolated workspaces, as their namespace holders report it."""

import socket
from typing import Any, Final, NamedTuple

from cmux_proxy.isolation.messages import escape_unprintable, receive, send
from cmux_proxy.isolation.registry import Registry

# Seconds; the list leaves out a holder that does not answer in time, because it may be suspended.
RESPONSE_TIMEOUT: Final = 2.0
# No workspace has a longer name.
_MAX_NAME_LENGTH: Final = 255


class Command(NamedTuple):
    """A command of a workspace: its process id, and the name under which it entered."""

    pid: int
    workspace: str


class WorkspaceStatus(NamedTuple):
    """An isolated workspace: its commands, its listening ports, and its namespace's id."""

    address: str
    commands: list[Command]
    ports: list[int]
    namespace: int


def read_statuses(registry: Registry, timeout: float = RESPONSE_TIMEOUT) -> list[WorkspaceStatus]:
    """Return the status of each current workspace, sorted by address.

    `timeout` is in seconds, for each holder.
    """
    statuses = [_read_status(registry, address, timeout) for address in registry.addresses()]
    return [status for status in statuses if status is not None]


def _read_status(registry: Registry, address: str, timeout: float) -> WorkspaceStatus | None:
    try:
        channel = registry.connect(address, timeout)
        if channel is None:
            return None
        with channel:
            return _parse_status(address, _request_status(channel))
    except (OSError, EOFError):
        return None  # the holder is ending
    except (ValueError, TypeError, KeyError):
        return None  # the process is not a holder, or the response is not a status


def _parse_status(address: str, fields: dict[str, Any]) -> WorkspaceStatus:
    """Validate a response: any process inside a workspace can pose as its holder."""
    commands = [
        Command(int(pid), escape_unprintable(name)[:_MAX_NAME_LENGTH])
        for pid, name in fields["commands"]
    ]
    ports = list(map(int, fields["ports"]))
    return WorkspaceStatus(address, commands, ports, int(fields["namespace"]))


def _request_status(channel: socket.socket) -> dict[str, Any]:
    send(channel, {"ask": "status"})
    message = receive(channel)
    message.close()
    return message.fields
