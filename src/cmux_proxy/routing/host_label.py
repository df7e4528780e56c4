"""<workspace>-<port>.localhost -> workspace and port, for clients that cannot send fields.

Browsers are the main case: they resolve every name below .localhost to this machine. Does not know
whether the workspace is valid; `workspace.py` does.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.port_field import parse_port


class HostLabel(NamedTuple):
    """The first label of a host; without a workspace, `port` is on the default upstream host."""

    workspace: str | None
    port: int


class HostSuffixes:
    """Reads hosts that are one label and one of the suffixes; suffixes are in lower case."""

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._endings = tuple(b"." + suffix.encode("ascii") for suffix in suffixes)

    def read(self, host: bytes) -> HostLabel | None:
        """Return the label of a valid Host value, or None if it names no port."""
        name = host.partition(b":")[0].lower().removesuffix(b".")
        for ending in self._endings:
            label = _read(name.removesuffix(ending)) if name.endswith(ending) else None
            if label is not None:
                return label
        return None


def _read(label: bytes) -> HostLabel | None:
    if b"." in label:
        return None
    workspace, dash, port = label.rpartition(b"-")
    if dash and not workspace:
        return None
    try:
        return HostLabel(workspace.decode("ascii") if dash else None, parse_port(port))
    except (RouteRefused, UnicodeDecodeError):
        return None
