"""May this request be carried out? Tokens, the Host that was meant, the port it goes to.

Asked for every request where anything of it is configured, by whatever router it is routed. Knows
nothing of connections: `admission.py` decides who may connect.
"""

from collections.abc import Sequence
from typing import Final

from cmux_proxy.config.sections import Access
from cmux_proxy.config.values import HostPattern, PortRange, plain_host
from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.credentials import is_one_of, token_of
from cmux_proxy.http1.field_lines import field_values
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.routing.target import Target

# Cut from every request, whether tokens are asked for or not.
TOKEN_FIELD: Final = b"x-cmux-token"

_PROXY_FIELD: Final = b"proxy-authorization"
_DENIED: Final = "http_request_denied"
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
        """Have these tokens be the ones that count, for requests that come from now on."""
        self._tokens = [token.encode("ascii") for token in tokens]

    def check_request(self, request: RequestHead, host: bytes | None) -> None:
        """Refuse a request without a token, or for a host that nobody here goes by.

        `host` is the valid Host that the request means, the one of its target if that has one.
        """
        if self._tokens and not self._has_token(request):
            if request.method == b"CONNECT":
                text = "a token is needed: Proxy-Authorization or X-Cmux-Token"
                raise RouteRefused(407, text, _DENIED, _PROXY_CHALLENGE)
            text = "a token is needed: X-Cmux-Token or Proxy-Authorization"
            raise RouteRefused(401, text, _DENIED, _CHALLENGE)
        # The host of a CONNECT is that of its target, which has no meaning here.
        if self._hosts and request.method != b"CONNECT":
            name = "" if host is None else plain_host(host)
            if not any(pattern.matches(name) for pattern in self._hosts):
                raise RouteRefused(421, "this host is not served here (--allow-host)", _DENIED)

    def check_target(self, target: Target) -> None:
        """Refuse a port that is not to be reached."""
        port = target.port
        if self.allows_port(port):
            return
        if port in self._denied:
            raise RouteRefused(403, f"port {port} is denied here (--deny-port)", _DENIED)
        raise RouteRefused(403, f"port {port} is not allowed here (--allow-port)", _DENIED)

    def allows_port(self, port: int) -> bool:
        """Return whether a port may be reached."""
        return port not in self._denied and (self._allows_all or port in self._allowed)

    def _has_token(self, request: RequestHead) -> bool:
        """Return whether the one token that a request carries, if any, is one of ours."""
        section = request.section()
        given = field_values(section, TOKEN_FIELD)
        if not given:
            given = [token_of(value) for value in field_values(section, _PROXY_FIELD)]
        return len(given) == 1 and is_one_of(given[0], self._tokens)


def _ports(texts: Sequence[str]) -> frozenset[int]:
    ports: set[int] = set()
    for text in texts:
        first, last = PortRange.parse(text)
        ports.update(range(first, last + 1))
    return frozenset(ports)
