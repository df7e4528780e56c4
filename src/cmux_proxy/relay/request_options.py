"""The options of a request: X-Cmux-Wait and X-Cmux-Host-Override.

The proxy cuts these fields, like those that route. `loop_detection.py` has one more.
"""

import re
from typing import Final

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.grammar import HOST
from cmux_proxy.relay.loop_detection import HOPS_NAME

WAIT_FIELD: Final = "X-Cmux-Wait"
_WAIT: Final = b"x-cmux-wait"
HOST_FIELD: Final = "X-Cmux-Host-Override"
_HOST: Final = b"x-cmux-host-override"
OPTION_NAMES: Final = (_WAIT, _HOST, HOPS_NAME)
# Cut from every request, whether tokens are asked for or not; `access.py` reads it.
TOKEN_FIELD: Final = b"x-cmux-token"

# Nine digits are enough, and more would make int() slow.
_DURATION: Final = re.compile(rb"([0-9]{1,9})(ms|s|m|)")
_SECONDS: Final = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"": 1.0}


class RequestOptions:
    """How many seconds to wait for the port, and the Host to send; None where it says nothing."""

    __slots__ = ("host", "wait")

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        """Read the reserved fields; raise RouteRefused for invalid values."""
        self.wait: float | None = None
        self.host: bytes | None = None
        for name, value in fields:
            if name == _WAIT:
                if self.wait is not None:
                    raise RouteRefused(400, f"header given more than once: {WAIT_FIELD}")
                self.wait = _wait(value)
            elif name == _HOST:
                if self.host is not None:
                    raise RouteRefused(400, f"header given more than once: {HOST_FIELD}")
                self.host = _host(value)


def _wait(value: bytes) -> float:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise RouteRefused(400, f"invalid header: {WAIT_FIELD} must be a duration such as 30s")
    return int(match.group(1)) * _SECONDS[match.group(2)]


def _host(value: bytes) -> bytes:
    if HOST.fullmatch(value) is None:
        raise RouteRefused(400, f"invalid header: {HOST_FIELD} must be a host and an optional port")
    return value
