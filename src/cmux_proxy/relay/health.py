"""Health on the public port: whether the proxy takes new connections, for load balancers.

Does not know listeners: the registry says whether the proxy is about to stop. Neighbours:
`exchange.py` asks about each request that is refused, `cmux_paths.py` has the other paths.
"""

from typing import Final

from cmux_proxy.config.path_section import Paths
from cmux_proxy.errors import PortMissing, RouteRefused
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.connection_registry import ConnectionRegistry
from cmux_proxy.relay.state import FORWARD
from cmux_proxy.routing.router import Router

_PATH: Final = b"/.cmux/health"
_METHODS: Final = (b"GET", b"HEAD")
# The error of a request without a token, or for a host that is not allowed.
_DENIED: Final = "http_request_denied"
# A refusal without a Proxy-Status error is a reply as it should be.
_NO_ERROR: Final = ""
_RETRY_SOON: Final = b"Retry-After: 1\r\n"


class HealthCheck:
    """Replies to requests for a path of health that name no port.

    They were refused, for want of a port or before that; so a service with such a path loses
    nothing, and neither a token nor an allowed host is needed.
    """

    def __init__(self, paths: Paths, router: Router, registry: ConnectionRegistry) -> None:
        own = [] if paths.no_cmux_paths else [_PATH]
        if paths.health_path is not None:
            own.append(paths.health_path.encode("ascii"))
        self._paths = frozenset(own)
        self._router = router
        self._registry = registry

    def judge(self, request: ClientRequest, refusal: RouteRefused) -> RouteRefused:
        """Return the reply to a request of health, or else the refusal."""
        # A 2xx to an upgrade of HTTP/2 would open it (RFC 8441 section 5).
        if request.mode != FORWARD or request.path().partition(b"?")[0] not in self._paths:
            return refusal
        if not self._names_no_port(request, refusal):
            return refusal
        if request.method not in _METHODS:
            return RouteRefused(405, "health is asked for with GET", fields=b"Allow: GET, HEAD\r\n")
        if self._registry.is_stopping():
            return RouteRefused(503, "draining", _NO_ERROR, _RETRY_SOON)
        return RouteRefused(200, "ok", _NO_ERROR)

    def _names_no_port(self, request: ClientRequest, refusal: RouteRefused) -> bool:
        if refusal.error != _DENIED:
            return isinstance(refusal, PortMissing)
        # It was refused before the router was asked.
        try:
            self._router.route(request.method, request.host, request.reserved)
        except PortMissing:
            return True
        except RouteRefused:
            return False
        return False
