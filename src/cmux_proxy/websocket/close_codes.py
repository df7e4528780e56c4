"""The status codes of Close frames (RFC 6455 section 7.4)."""

from typing import Final

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
# Never sent: what a Close frame without a code means (section 7.4.1).
NO_STATUS: Final = 1005
INVALID_PAYLOAD: Final = 1007
TOO_BIG: Final = 1009

# The codes that RFC 6455 and its registry allow in frames; 3000 and above are of applications.
_REGISTERED: Final = frozenset([1000, 1001, 1002, 1003, *range(1007, 1015)])


def may_be_sent(code: int) -> bool:
    """Return whether a Close frame may carry this code (section 7.4.2)."""
    return code in _REGISTERED or 3000 <= code <= 4999


def is_orderly(code: int) -> bool:
    """Return whether a Close with this code is the end of the bytes, and not a failure."""
    return code in (NORMAL, NO_STATUS)
