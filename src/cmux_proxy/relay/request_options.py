"""The options of a request: X-Cmux-Wait, X-Cmux-Host-Override, X-Cmux-Scheme and X-Cmux-Protocol.

The proxy cuts these fields, like those that route. `loop_detection.py` has one more.
"""

import re
from typing import Final

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.grammar import HOST
from cmux_proxy.relay.loop_detection import HOPS_NAME
from cmux_proxy.routing.target import HTTP, HTTPS

WAIT_FIELD: Final = "X-Cmux-Wait"
_WAIT: Final = b"x-cmux-wait"
HOST_FIELD: Final = "X-Cmux-Host-Override"
_HOST: Final = b"x-cmux-host-override"
SCHEME_FIELD: Final = "X-Cmux-Scheme"
_SCHEME: Final = b"x-cmux-scheme"
PROTOCOL_FIELD: Final = "X-Cmux-Protocol"
PROTOCOL_NAME: Final = b"x-cmux-protocol"
OPTION_NAMES: Final = (_WAIT, _HOST, _SCHEME, PROTOCOL_NAME, HOPS_NAME)
# The only value of X-Cmux-Protocol: HTTP/2 (RFC 9113 section 3.1).
H2C: Final = b"h2c"
# Cut from every request, whether tokens are asked for or not; `access.py` reads it.
TOKEN_FIELD: Final = b"x-cmux-token"

# Nine digits are enough, and more would make int() slow.
_DURATION: Final = re.compile(rb"([0-9]{1,9})(ms|s|m|)")
_SCHEMES: Final = {scheme.encode("ascii"): scheme for scheme in (HTTP, HTTPS)}
_SECONDS: Final = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"": 1.0}


class RequestOptions:
    """How many seconds to wait for the port, the Host to send, and the scheme of the upstream.

    Each is None where the request says nothing about it. `wants_http2` says that the upstream is to
    be spoken to in HTTP/2.
    """

    __slots__ = ("host", "scheme", "wait", "wants_http2")

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        """Read the reserved fields; raise RouteRefused for invalid values."""
        self.wait: float | None = None
        self.host: bytes | None = None
        self.scheme: str | None = None
        self.wants_http2 = False
        for name, value in fields:
            if name == _WAIT:
                if self.wait is not None:
                    raise RouteRefused(400, f"header given more than once: {WAIT_FIELD}")
                self.wait = _wait(value)
            elif name == _HOST:
                if self.host is not None:
                    raise RouteRefused(400, f"header given more than once: {HOST_FIELD}")
                self.host = _host(value)
            elif name == _SCHEME:
                if self.scheme is not None:
                    raise RouteRefused(400, f"header given more than once: {SCHEME_FIELD}")
                self.scheme = _scheme(value)
            elif name == PROTOCOL_NAME:
                if self.wants_http2:
                    raise RouteRefused(400, f"header given more than once: {PROTOCOL_FIELD}")
                if value != H2C:
                    raise RouteRefused(400, f"invalid header: {PROTOCOL_FIELD} must be h2c")
                self.wants_http2 = True


def _wait(value: bytes) -> float:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise RouteRefused(400, f"invalid header: {WAIT_FIELD} must be a duration such as 30s")
    return int(match.group(1)) * _SECONDS[match.group(2)]


def _scheme(value: bytes) -> str:
    scheme = _SCHEMES.get(value)
    if scheme is None:
        raise RouteRefused(400, f"invalid header: {SCHEME_FIELD} must be http or https")
    return scheme


def _host(value: bytes) -> bytes:
    if HOST.fullmatch(value) is None:
        raise RouteRefused(400, f"invalid header: {HOST_FIELD} must be a host and an optional port")
    return value
