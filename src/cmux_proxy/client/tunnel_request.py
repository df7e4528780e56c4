"""A request for a tunnel to a port, as a head of HTTP/1.1: a CONNECT, or one for a WebSocket.

Neighbour: `open_tunnel.py` sends it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.config.address import format_authority
from cmux_proxy.net.loopback import IPV4_LOOPBACK
from cmux_proxy.websocket.opening import request_lines


class TunnelRequest(NamedTuple):
    """A request for a tunnel to a port, perhaps of a workspace, with further whole header lines."""

    port: int
    workspace: str | None = None
    lines: Sequence[str] = ()

    def connect_head(self) -> bytes:
        """Return the head of a CONNECT."""
        authority = format_authority(IPV4_LOOPBACK, self.port)
        return self._head(f"CONNECT {authority} HTTP/1.1", authority)

    def websocket_head(self, url: ProxyUrl, key: bytes) -> bytes:
        """Return the head of a request for a WebSocket.

        The path and the field both name the port, because an edge may cut the field.
        """
        lines = request_lines(key).decode("ascii")
        return self._head(f"GET /.cmux/tcp/{self.port} HTTP/1.1", url.authority, lines)

    def _head(self, start: str, host: str, more: str = "") -> bytes:
        lines = [start, f"Host: {host}", f"X-Cmux-Port-Internal: {self.port}"]
        if self.workspace is not None:
            lines.append(f"X-Cmux-Workspace-Internal: {self.workspace}")
        return ("\r\n".join([*lines, *self.lines, more]) + "\r\n").encode("latin-1")
