"""The timeouts of a configuration, in seconds; one that is off never passes."""

from cmux_proxy.config.sections import Timeouts
from cmux_proxy.net.timers import NEVER


class TimeoutSeconds:
    """What each phase of a connection may take; NEVER where the configuration says off."""

    __slots__ = (
        "body",
        "connect",
        "connect_retry",
        "head",
        "idle",
        "linger",
        "max_wait",
        "response",
        "response_idle",
        "tunnel",
    )

    def __init__(self, timeouts: Timeouts) -> None:
        self.body = _seconds(timeouts.body)
        self.connect = timeouts.connect
        self.connect_retry = timeouts.connect_retry
        self.head = _seconds(timeouts.head)
        self.idle = _seconds(timeouts.idle)
        self.linger = timeouts.linger
        self.max_wait = timeouts.max_wait
        self.response = _seconds(timeouts.response)
        self.response_idle = _seconds(timeouts.response_idle)
        self.tunnel = _seconds(timeouts.tunnel)


def _seconds(timeout: float | None) -> float:
    return NEVER if timeout is None else timeout
