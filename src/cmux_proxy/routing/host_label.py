"""<workspace>-<port>.localhost -> workspace and port, for clients that cannot send fields.

Browsers above all: every name below .localhost is this machine to them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.port_field import parse_port


class HostLabel(NamedTuple):
    """What the first label of a host says; without a workspace it is the upstream host's port."""

    workspace: str | None
    port: int


class HostSuffixes:
    """Reads hosts that consist of one label and one of the suffixes, each a name in lower case."""

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._endings = tuple(b"." + suffix.encode("ascii") for suffix in suffixes)

    def read(self, host: bytes) -> HostLabel | None:
        """Return what a valid Host value says, or None when it names no port."""
        name = host.partition(b":")[0].lower().removesuffix(b".")
        for ending in self._endings:
            found = _read(name.removesuffix(ending)) if name.endswith(ending) else None
            if found is not None:
                return found
        return None


def _read(label: bytes) -> HostLabel | None:
    if b"." in label:
        return None
    workspace, dash, tail = label.rpartition(b"-")
    if dash and not workspace:
        return None
    try:
        return HostLabel(workspace.decode("ascii") if dash else None, parse_port(tail))
    except (RouteRefused, UnicodeDecodeError):
        return None
