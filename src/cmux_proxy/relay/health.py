"""Health on the public port: whether the proxy takes new connections, for load balancers.

Does not know listeners: the registry says whether the proxy stops soon. Neighbours: `exchange.py`
passes each refused request to it, `failures.py` has the responses, `cmux_paths.py` the path.
"""

from typing import Final

from cmux_proxy.config.path_section import Paths
from cmux_proxy.errors import PortMissing, RouteRefused
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.cmux_paths import HEALTH
from cmux_proxy.relay.connection_registry import ConnectionRegistry
from cmux_proxy.relay.failures import (
    DENIED,
    HEALTHY,
    NO_HEALTH_METHOD,
    STOPPING,
    Failure,
    refused,
)
from cmux_proxy.relay.state import FORWARD
from cmux_proxy.routing.router import Router

_METHODS: Final = (b"GET", b"HEAD")


class HealthCheck:
    """Responds to health checks, which are refused requests that name no port.

    A request with a port reaches its service, whatever its path is. A health check needs neither a
    token nor an allowed host.
    """

    def __init__(self, paths: Paths, router: Router, registry: ConnectionRegistry) -> None:
        own = [] if paths.no_cmux_paths else [HEALTH]
        if paths.health_path is not None:
            own.append(paths.health_path.encode("ascii"))
        self._paths = frozenset(own)
        self._router = router
        self._registry = registry

    def response(self, request: ClientRequest, refusal: RouteRefused) -> Failure:
        """Return the response to a health check, or else that of the refusal."""
        # A 2xx to an upgrade of HTTP/2 would open it (RFC 8441 section 5).
        if request.mode != FORWARD or request.path().partition(b"?")[0] not in self._paths:
            return refused(refusal)
        if not self._names_no_port(request, refusal):
            return refused(refusal)
        if request.method not in _METHODS:
            return NO_HEALTH_METHOD
        return STOPPING if self._registry.is_stopping() else HEALTHY

    def _names_no_port(self, request: ClientRequest, refusal: RouteRefused) -> bool:
        if refusal.error != DENIED:
            return isinstance(refusal, PortMissing)
        # Access rules come before the router.
        try:
            self._router.route(request.method, request.host, request.reserved)
        except PortMissing:
            return True
        except RouteRefused:
            return False
        return False
