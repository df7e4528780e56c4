"""Activity of each port: requests and tunnels under way, totals, and the time of the last byte.

Kept only where the admin listener is on. Times are seconds of the event loop's clock. Counts are
floats for the reason given in `counters.py`. Does not know other workers: `worker_stats.py` reads
the activity as values that add up.
"""

from typing import Any, Final

from cmux_proxy.observe.histogram import Histogram

# Ports that are remembered; of more, those without activity for the longest time are forgotten.
MAX_PORTS: Final = 4096


class PortActivity:
    """One port of one host."""

    __slots__ = (
        "durations",
        "count",
        "errors",
        "last_byte",
        "last_request",
        "received",
        "requests",
        "sent",
        "tunnels",
        "workspace",
    )

    def __init__(self) -> None:
        self.workspace = ""
        # Under way now.
        self.requests = 0.0
        self.tunnels = 0
        # All requests so far, and those that ended with a status of 500 or more.
        self.count = 0.0
        self.errors = 0
        self.durations = Histogram()
        self.received = 0.0
        self.sent = 0.0
        self.last_request = 0.0
        self.last_byte = 0.0

    def is_idle(self) -> bool:
        """Return whether neither a request nor a tunnel is under way."""
        return not self.requests and not self.tunnels

    def began(self, now: float) -> None:
        """Count a request that begins."""
        self.requests += 1.0
        self.count += 1.0
        self.last_request = now
        self.last_byte = now

    def ended(self, status: int, seconds: float, received: float, sent: float) -> None:
        """Count a request that has ended or has become a tunnel."""
        self.requests -= 1.0
        if status >= 500:
            self.errors += 1
        self.durations.add(seconds)
        self.received += received
        self.sent += sent

    def tunnel_ended(self, received: int, sent: int, last_byte: float) -> None:
        """Count a tunnel that has closed; `last_byte` is the time of its last byte."""
        self.tunnels -= 1
        self.received += received
        self.sent += sent
        self.last_byte = max(self.last_byte, last_byte)


class Ports:
    """The activity of all ports that requests were sent to, by host and port."""

    __slots__ = ("_by_target", "_last", "_last_target")

    def __init__(self) -> None:
        # By host and port. The key is an object to the compiler, which would take a tuple apart.
        self._by_target: dict[Any, PortActivity] = {}
        # The port of the previous request, which usually is that of the next one too.
        self._last = PortActivity()
        self._last_target: object = None

    def of(self, target: Any) -> PortActivity:
        """Return the activity of a port; `target` begins with host and port."""
        if target is not self._last_target:
            self._last = self._find(target)
            self._last_target = target
        return self._last

    def all(self) -> dict[Any, PortActivity]:
        """Return the activity of every port by host and port."""
        return self._by_target

    def _find(self, target: Any) -> PortActivity:
        # A port is one, with TLS or without.
        key = target[:2]
        port = self._by_target.get(key)
        if port is None:
            if len(self._by_target) >= MAX_PORTS:
                self._forget_idle()
            port = self._by_target[key] = PortActivity()
        return port

    def _forget_idle(self) -> None:
        """Remove a quarter of the ports: those without activity for longest, never a busy one."""
        idle = [
            (port.last_byte, target) for target, port in self._by_target.items() if port.is_idle()
        ]
        for _, target in sorted(idle)[: MAX_PORTS // 4]:
            del self._by_target[target]
        self._last_target = None
