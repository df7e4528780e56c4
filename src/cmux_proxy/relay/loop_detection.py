"""X-Cmux-Hops: how many proxies of this kind a request has passed; too many are a loop.

A request that is routed by fields cannot loop: the fields are cut, so that the next proxy has none.
Host is forwarded, so each request that is routed by it carries the count. Every proxy checks it.
"""

import re
from typing import Final

from cmux_proxy.errors import RouteRefused

HOPS_FIELD: Final = "X-Cmux-Hops"
HOPS_NAME: Final = b"x-cmux-hops"
MAX_HOPS: Final = 5

# Nine digits are enough, and more would make int() slow.
_COUNT: Final = re.compile(rb"[0-9]{1,9}")
_FIRST_LINE: Final = b"X-Cmux-Hops: 1\r\n"


def check_hops(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """Raise RouteRefused for a count that is malformed, repeated, or above MAX_HOPS."""
    values = [value for name, value in fields if name == HOPS_NAME]
    if not values:
        return
    if len(values) > 1:
        raise RouteRefused(400, f"header given more than once: {HOPS_FIELD}")
    if _COUNT.fullmatch(values[0]) is None:
        raise RouteRefused(400, f"invalid header: {HOPS_FIELD} must be a whole number")
    count = int(values[0])
    if count > MAX_HOPS:
        text = f"the request has come through {count} proxies; do they send it to each other?"
        raise RouteRefused(508, text, "proxy_loop_detected")


def hop_line(fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the line for the next proxy; the fields were checked."""
    for name, value in fields:
        if name == HOPS_NAME:
            return b"X-Cmux-Hops: %d\r\n" % (int(value) + 1)
    return _FIRST_LINE
