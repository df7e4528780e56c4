"""Logs TLS handshakes that fail, at most one line a second: clients can make them fail at will.

Does not know why they fail.
"""

import logging
from typing import Final

_log = logging.getLogger("cmux_proxy")

_INTERVAL: Final = 1.0


class HandshakeLog:
    """Writes lines, and counts those that are left out."""

    def __init__(self) -> None:
        self._next = 0.0
        self._left_out = 0

    def report(self, now: float, client: str, reason: str) -> None:
        """Log a failure; `now` is in seconds of the loop's clock."""
        if now < self._next:
            self._left_out += 1
            return
        more = f" ({self._left_out} more since the last line)" if self._left_out else ""
        _log.info("TLS handshake with %s failed: %s%s", client or "a client", reason, more)
        self._next = now + _INTERVAL
        self._left_out = 0
