"""What goes on at each port: who asks for it, when it was heard of last, and how it answers.

Kept only where somebody may ask. Times are seconds of the event loop's clock. Counts are floats for
the reason given in `counters.py`.
"""

from typing import Any, Final

from cmux_proxy.observe.counters import Histogram

# So many ports are remembered; of more, those that have been quiet for longest are forgotten.
MOST_PORTS: Final = 4096


class PortActivity:
    """One port of one host."""

    __slots__ = (
        "answers",
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
        # All that have been, and those of them that ended with a status of 500 or more.
        self.count = 0.0
        self.errors = 0
        self.answers = Histogram()
        self.received = 0.0
        self.sent = 0.0
        self.last_request = 0.0
        self.last_byte = 0.0

    def is_quiet(self) -> bool:
        """Return whether nothing is under way."""
        return not self.requests and not self.tunnels

    def began(self, now: float) -> None:
        """A request has come."""
        self.requests += 1.0
        self.count += 1.0
        self.last_request = now
        self.last_byte = now

    def ended(self, status: int, seconds: float, received: float, sent: float) -> None:
        """A request is over, or has become a tunnel."""
        self.requests -= 1.0
        if status >= 500:
            self.errors += 1
        self.answers.add(seconds)
        self.received += received
        self.sent += sent

    def tunnel_ended(self, received: int, sent: int, heard: float) -> None:
        """A tunnel is closed that was heard of last at `heard`."""
        self.tunnels -= 1
        self.received += received
        self.sent += sent
        self.last_byte = max(self.last_byte, heard)

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return plain data; times as seconds before `now`."""
        return {
            "workspace": self.workspace,
            "requests": int(self.requests),
            "tunnels": self.tunnels,
            "count": int(self.count),
            "errors": self.errors,
            "answers": self.answers.snapshot(),
            "received": int(self.received),
            "sent": int(self.sent),
            "last_request": now - self.last_request,
            "last_byte": now - self.last_byte,
        }


class Ports:
    """The ports that have been asked for, by host and port."""

    __slots__ = ("_known", "_last", "_last_target")

    def __init__(self) -> None:
        # By host and port. An object for the compiler: as a tuple it would be taken apart.
        self._known: dict[Any, PortActivity] = {}
        # What was asked for last, which mostly is the next one too.
        self._last = PortActivity()
        self._last_target: object = None

    def of(self, target: object) -> PortActivity:
        """Return what is known of a port; `target` is a pair of host and port."""
        if target is not self._last_target:
            self._last = self._find(target)
            self._last_target = target
        return self._last

    def _find(self, target: object) -> PortActivity:
        found = self._known.get(target)
        if found is None:
            if len(self._known) >= MOST_PORTS:
                self._forget_some()
            found = self._known[target] = PortActivity()
        return found

    def snapshot(self, now: float) -> list[list[Any]]:
        """Return host, port and what is known, of each."""
        return [[host, port, each.snapshot(now)] for (host, port), each in self._known.items()]

    def _forget_some(self) -> None:
        """Make room: a quarter goes, unless something is under way there."""
        quiet = [
            (each.last_byte, target) for target, each in self._known.items() if each.is_quiet()
        ]
        for _, target in sorted(quiet)[: MOST_PORTS // 4]:
            del self._known[target]
        self._last_target = None
