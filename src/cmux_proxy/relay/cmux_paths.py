"""The paths of the proxy itself, below /.cmux/: served only where a request names no port.

The router has refused such a request, so that a service with paths like these loses nothing. Does
not know what happens at a path. Neighbours: `health.py`, `websocket_requests.py`.
"""

from typing import Final

HEALTH: Final = b"/.cmux/health"
_TUNNELS: Final = b"/.cmux/tcp/"


def tunnel_port(path: bytes) -> bytes | None:
    """Return what stands for the port in a path of tunnels; None if it is another path."""
    return path[len(_TUNNELS) :] if path.startswith(_TUNNELS) else None
