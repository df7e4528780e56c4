"""X-Cmux-Port-Internal: a TCP port in ASCII digits, without any other character."""

import re
from typing import Final

from cmux_proxy.errors import RouteRefused

PORT_FIELD: Final = "X-Cmux-Port-Internal"

# int() alone accepts signs, blanks and underscores. No port has more than five digits.
_DIGITS: Final = re.compile(rb"[0-9]{1,5}")


def parse_port(value: bytes) -> int:
    """Return the port in a field value; raise RouteRefused unless it is from 1 to 65535."""
    if _DIGITS.fullmatch(value) is not None:
        port = int(value)
        if 1 <= port <= 65535:
            return port
    raise RouteRefused(400, f"invalid header: {PORT_FIELD} must be a port from 1 to 65535")
