"""Listening ports in words for people. Does not know how they are found."""

from collections.abc import Sequence
from typing import Final

from cmux_proxy.config.address import format_authority
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.machine.namespaces import ServiceAddresses

_MAX_COMMAND_LENGTH: Final = 60
_MAX_PORTS: Final = 8


def describe_listener(listener: ListeningPort) -> str:
    """Return "127.0.0.1:3000 (4711, node server.js)"."""
    command = listener.command or "unknown"
    if len(command) > _MAX_COMMAND_LENGTH:
        command = command[: _MAX_COMMAND_LENGTH - 3] + "..."
    process = "unknown process" if listener.pid is None else f"{listener.pid}, {command}"
    return f"{format_authority(listener.address, listener.port)} ({process})"


def describe_nearest_listener(
    port: int, service: ServiceAddresses, listeners: Sequence[ListeningPort]
) -> str | None:
    """Return which listener has this port elsewhere, and the remedy; None if no listener has it.

    `service` is where the port was expected, `listeners` are those of all namespaces.
    """
    candidates = [listener for listener in listeners if listener.port == port]
    if not candidates:
        return None
    nearest = candidates[0]
    description = describe_listener(nearest)
    expected_workspace = service.namespace.workspace
    if nearest.workspace is not None and nearest.workspace != expected_workspace:
        name = nearest.workspace
        return f"{description} is in workspace {name}: --workspace {name}"
    if expected_workspace is not None and nearest.workspace is None:
        return f"{description} is outside the workspace: cmux-proxy run starts it inside"
    return f"{description} is not on {' or '.join(service.hosts)}: have it listen there"


def describe_ports(listeners: Sequence[ListeningPort]) -> str:
    """Return "3000, 5173 and 2 more"; the empty string for no listener."""
    ports = sorted({listener.port for listener in listeners})
    shown = ", ".join(map(str, ports[:_MAX_PORTS]))
    more = len(ports) - _MAX_PORTS
    return f"{shown} and {more} more" if more > 0 else shown
