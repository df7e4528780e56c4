"""What a request may ask of the proxy in fields of its own, besides where it goes.

These fields are cut like those that route, and reported with them.
"""

import re
from typing import Final

from cmux_proxy.errors import RouteRefused

WAIT_FIELD: Final = "X-Cmux-Wait"
_WAIT: Final = b"x-cmux-wait"
WISHES: Final = (_WAIT,)

# Nine digits are enough, and more would make int() slow.
_DURATION: Final = re.compile(rb"([0-9]{1,9})(ms|s|m|)")
_SECONDS: Final = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"": 1.0}


class Wishes:
    """What one request asks for; `wait` is None where it says nothing."""

    __slots__ = ("wait",)

    def __init__(self, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        """Read the reported fields; raise RouteRefused for what cannot be meant."""
        self.wait: float | None = None
        for name, value in fields:
            if name == _WAIT:
                if self.wait is not None:
                    raise RouteRefused(400, f"header given more than once: {WAIT_FIELD}")
                self.wait = _wait(value)


def _wait(value: bytes) -> float:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise RouteRefused(400, f"invalid header: {WAIT_FIELD} must be a duration such as 30s")
    return int(match.group(1)) * _SECONDS[match.group(2)]
