"""Requests for a tunnel inside a WebSocket: which ones are, and which are refused (RFC 6455).

A tunnel is asked for by a path of the proxy, or by the port field with the subprotocol
`opening.HALF_CLOSE`; where a Host names the port, that subprotocol means nothing, because a page
could ask for it. The router sees such a request as a CONNECT. Neighbours: `cmux_paths.py` has the
path, `websocket/opening.py` the handshake, `websocket_session.py` what follows it.
"""

from collections.abc import Sequence
from typing import Final

from cmux_proxy.config.path_section import Paths
from cmux_proxy.config.tunnel_section import Tunnels
from cmux_proxy.errors import RouteRefused
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.cmux_paths import tunnel_port
from cmux_proxy.relay.failures import DENIED
from cmux_proxy.relay.state import CONNECT, UPGRADE, WEBSOCKET
from cmux_proxy.routing.authority import local_port
from cmux_proxy.routing.port_field import parse_port
from cmux_proxy.routing.router import PORT_NAME, Router
from cmux_proxy.routing.target import HostTarget, Target
from cmux_proxy.websocket.opening import (
    HALF_CLOSE,
    PROTOCOL,
    VERSION,
    choose_subprotocol,
    is_key,
    read_subprotocols,
    switching_head,
)

_KEY: Final = b"sec-websocket-key"
_SUBPROTOCOL: Final = b"sec-websocket-protocol"
_VERSION: Final = b"sec-websocket-version"
_UPGRADE_LINES: Final = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
_VERSION_LINE: Final = b"Sec-WebSocket-Version: " + VERSION + b"\r\n"


class TunnelRequests:
    """Routes requests for tunnels; raises RouteRefused for what must not be dialled."""

    __slots__ = ("_has_paths", "_is_by_authority", "_origins", "_router")

    def __init__(self, tunnels: Tunnels, paths: Paths, router: Router) -> None:
        self._has_paths = not paths.no_cmux_paths
        self._is_by_authority = tunnels.connect_by_authority
        self._origins = frozenset(origin.encode("ascii") for origin in tunnels.origins)
        self._router = router

    def route_without_port(self, request: ClientRequest) -> Target | None:
        """Return the target of a request that the router has refused for want of a port.

        Its path may name one, or the authority of a CONNECT; None if nothing does.
        """
        if request.mode == CONNECT:
            return self._route_authority(request)
        port = tunnel_port(request.path()) if self._has_paths else None
        if port is None:
            return None
        self._check_origin(request)
        request.reserved = _with_port(request.reserved, port)
        return self.route(request)

    def _route_authority(self, request: ClientRequest) -> Target | None:
        if not self._is_by_authority:
            return None
        # Not the Host, which clients of HTTP/1.0 omit, and which may name another one.
        port = local_port(request.request_target())
        request.reserved = (*request.reserved, (PORT_NAME, port))
        return self._router.route(request.method, request.host, request.reserved)

    def route(self, request: ClientRequest) -> Target:
        """Return the target of a request for a tunnel, and make it one."""
        self._check_origin(request)
        _check_handshake(request)
        request.mode = WEBSOCKET
        return self._router.route(b"CONNECT", request.host, request.reserved)

    def _check_origin(self, request: ClientRequest) -> None:
        """Refuse a web page that is not listed: its Host may be one that was rebound to us."""
        origins = request.values(b"origin")
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            text = "tunnels are not for web pages, unless --tunnel-origin names their origin"
            raise RouteRefused(403, text, DENIED)


def _check_handshake(request: ClientRequest) -> None:
    """Refuse what is no handshake of a WebSocket (RFC 6455 section 4.2)."""
    if request.method != b"GET":
        text = "a tunnel inside a WebSocket is asked for with GET"
        raise RouteRefused(405, text, fields=b"Allow: GET\r\n")
    if not _is_websocket(request):
        raise RouteRefused(426, "a tunnel needs a WebSocket here", fields=_UPGRADE_LINES)
    if request.values(_VERSION) != [VERSION]:
        text = "a WebSocket needs Sec-WebSocket-Version: 13"
        raise RouteRefused(426, text, fields=_UPGRADE_LINES + _VERSION_LINE)
    keys = request.values(_KEY)
    if len(keys) != 1 or not is_key(keys[0]):
        raise RouteRefused(400, "invalid header: Sec-WebSocket-Key must be 16 bytes in base64")
    if request.body is not None:
        raise RouteRefused(400, "a request for a WebSocket has no body")
    if _offers_only_others(request.values(_SUBPROTOCOL)):
        text = "a tunnel has the subprotocols cmux-tcp.v1 and binary, or none"
        raise RouteRefused(400, text)


def _with_port(
    fields: tuple[tuple[bytes, bytes], ...], port: bytes
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the reserved fields with the port of a path; raise RouteRefused unless it is one."""
    try:
        parse_port(port)
    except RouteRefused:
        text = "invalid path: /.cmux/tcp/ needs a port from 1 to 65535 behind it"
        raise RouteRefused(400, text) from None
    return (*fields, (PORT_NAME, port))


def is_tunnel_by_field(request: ClientRequest, target: Target) -> bool:
    """Return whether a request that is routed asks for a tunnel by its port field."""
    if isinstance(target, HostTarget) or not _is_websocket(request):
        return False
    if all(name != PORT_NAME for name, _ in request.reserved):
        return False
    offered = read_subprotocols(request.values(_SUBPROTOCOL))
    return offered is not None and HALF_CLOSE in offered


def opening_response(request: ClientRequest) -> tuple[bytes, bool]:
    """Return the 101 to a request that was judged, and whether a message ends a half."""
    chosen = choose_subprotocol(read_subprotocols(request.values(_SUBPROTOCOL)) or ())
    return switching_head(request.values(_KEY)[0], chosen), chosen == HALF_CLOSE


def _is_websocket(request: ClientRequest) -> bool:
    """Return whether a request asks to switch to WebSocket (RFC 6455 section 4.2.1)."""
    members = b",".join(request.values(b"upgrade")).lower().split(b",")
    return request.mode & UPGRADE != 0 and PROTOCOL in [each.strip(b" \t") for each in members]


def _offers_only_others(values: Sequence[bytes]) -> bool:
    offered = read_subprotocols(values)
    return offered is None or (len(offered) > 0 and not choose_subprotocol(offered))
