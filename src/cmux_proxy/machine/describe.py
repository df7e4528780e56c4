"""What listens, in words for people."""

from collections.abc import Sequence
from typing import Final

from cmux_proxy.machine.listening import Listening
from cmux_proxy.machine.namespaces import Place

_MOST_OF_A_COMMAND: Final = 60
_MOST_PORTS: Final = 8


def told(each: Listening) -> str:
    """Return "127.0.0.1:3000 (4711, node server.js)"."""
    host = f"[{each.address}]" if ":" in each.address else each.address
    command = each.command or "unknown"
    if len(command) > _MOST_OF_A_COMMAND:
        command = command[: _MOST_OF_A_COMMAND - 3] + "..."
    who = "unknown process" if each.pid is None else f"{each.pid}, {command}"
    return f"{host}:{each.port} ({who})"


def near_miss(port: int, place: Place, found: Sequence[Listening]) -> str | None:
    """Return where else a port is listened on than at a place, and how to get there; None if not.

    `found` is what listens anywhere.
    """
    others = [each for each in found if each.port == port]
    if not others:
        return None
    other = others[0]
    if other.workspace is not None and other.workspace != place.space.workspace:
        return f"{told(other)} is in workspace {other.workspace}: --workspace {other.workspace}"
    if place.space.workspace is not None and other.workspace is None:
        return f"{told(other)} is outside the workspace: cmux-proxy run starts it inside"
    return f"{told(other)} is not on {' or '.join(place.hosts)}: have it listen there"


def ports_told(found: Sequence[Listening]) -> str:
    """Return "3000, 5173 and 2 more"; the empty string for none."""
    ports = sorted({each.port for each in found})
    shown = ", ".join(map(str, ports[:_MOST_PORTS]))
    more = len(ports) - _MOST_PORTS
    return f"{shown} and {more} more" if more > 0 else shown
