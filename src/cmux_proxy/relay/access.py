"""Which requests are allowed: by their token, the Host that they mean, and the port they go to.

Checks every request where any of it is configured, whatever router routes it. Does not know
connections: `downstream/admission.py` decides who may connect.
"""

from collections.abc import Sequence
from typing import Final

from cmux_proxy.config.sections import Access
from cmux_proxy.config.values import HostPattern, PortRange, plain_host
from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.credentials import is_one_of, token_of
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.failures import DENIED
from cmux_proxy.relay.request_options import TOKEN_FIELD
from cmux_proxy.relay.state import CONNECT
from cmux_proxy.routing.target import Target

_PROXY_FIELD: Final = b"proxy-authorization"
_CHALLENGE: Final = b'WWW-Authenticate: Cmux-Token realm="cmux-proxy"\r\n'
_PROXY_CHALLENGE: Final = (
    b'Proxy-Authenticate: Basic realm="cmux-proxy"\r\n'
    b'Proxy-Authenticate: Bearer realm="cmux-proxy"\r\n'
)


class RequestAccess:
    """The rules for requests of one proxy; raises RouteRefused for what they forbid."""

    __slots__ = ("_allows_all", "_allowed", "_denied", "_hosts", "_tokens")

    def __init__(self, access: Access) -> None:
        self.replace_tokens(access.tokens)
        self._hosts = [HostPattern.parse(text) for text in access.allow_hosts]
        self._allows_all = not access.allow_ports
        self._allowed = _ports(access.allow_ports)
        self._denied = _ports(access.deny_ports)

    def replace_tokens(self, tokens: Sequence[str]) -> None:
        """Accept these tokens from now on."""
        self._tokens = [token.encode("ascii") for token in tokens]

    def check_request(self, request: ClientRequest) -> None:
        """Refuse a request without a valid token, or for a host that is not allowed."""
        is_connect = request.mode == CONNECT
        if self._tokens and not self._has_token(request):
            if is_connect:
                text = "a token is needed: Proxy-Authorization or X-Cmux-Token"
                raise RouteRefused(407, text, DENIED, _PROXY_CHALLENGE)
            text = "a token is needed: X-Cmux-Token or Proxy-Authorization"
            raise RouteRefused(401, text, DENIED, _CHALLENGE)
        # The host of a CONNECT is that of its target, which routes nothing.
        if self._hosts and not is_connect:
            name = "" if request.host is None else plain_host(request.host)
            if not any(pattern.matches(name) for pattern in self._hosts):
                raise RouteRefused(421, "this host is not served here (--allow-host)", DENIED)

    def check_target(self, target: Target) -> None:
        """Refuse a port that is denied or not allowed."""
        port = target.port
        if self.allows_port(port):
            return
        if port in self._denied:
            raise RouteRefused(403, f"port {port} is denied here (--deny-port)", DENIED)
        raise RouteRefused(403, f"port {port} is not allowed here (--allow-port)", DENIED)

    def allows_port(self, port: int) -> bool:
        """Return whether requests may reach a port."""
        return port not in self._denied and (self._allows_all or port in self._allowed)

    def _has_token(self, request: ClientRequest) -> bool:
        """Return whether the request carries one token, and that is an accepted one."""
        tokens = request.values(TOKEN_FIELD)
        if not tokens:
            tokens = [token_of(value) for value in request.values(_PROXY_FIELD)]
        return len(tokens) == 1 and is_one_of(tokens[0], self._tokens)


def _ports(texts: Sequence[str]) -> frozenset[int]:
    ports: set[int] = set()
    for text in texts:
        first, last = PortRange.parse(text)
        ports.update(range(first, last + 1))
    return frozenset(ports)
