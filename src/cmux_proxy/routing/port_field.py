"""X-Cmux-Port-Internal: a TCP port in ASCII digits, and nothing else."""

import re
from typing import Final

from cmux_proxy.errors import RouteRefused

PORT_FIELD: Final = "X-Cmux-Port-Internal"

# int() alone would take signs, blanks and underscores. Five digits are enough for any port.
_DIGITS: Final = re.compile(rb"[0-9]{1,5}")


def parse_port(value: bytes) -> int:
    """Return the port that a field value names; raise RouteRefused unless it is 1 to 65535."""
    if _DIGITS.fullmatch(value) is not None:
        port = int(value)
        if 1 <= port <= 65535:
            return port
    raise RouteRefused(400, f"invalid header: {PORT_FIELD} must be a port from 1 to 65535")
