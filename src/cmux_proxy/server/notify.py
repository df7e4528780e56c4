"""What a service tells systemd: that it is ready, that it ends, and that it is alive.

The protocol is that of sd_notify(3): a datagram of lines for a socket that a variable names. It is
a promise of systemd's, and all there is to it are the lines below, so no library is needed.
"""

import logging
import math
import os
import re
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Final, Self

from cmux_proxy.config.proxy_config import Address

_log = logging.getLogger("cmux_proxy")

# systemd may be slow to take a datagram; nobody waits longer for that, in seconds.
_PATIENCE: Final = 1.0
_MICROSECONDS: Final = 1e6


class Notifier:
    """Tells the service's state to whoever asked for it, and nobody where nobody did.

    `watchdog` is after how many silent seconds the service counts as dead; None is never.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Read what systemd asks for; forget it, as it is for this process alone."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        is_meant = pid in ("", str(os.getpid()))
        if not address or not is_meant or not re.fullmatch(r"0*[1-9][0-9]{0,15}", period, re.ASCII):
            return cls(address)
        return cls(address, int(period) / _MICROSECONDS)

    @property
    def beat(self) -> float | None:
        """How often each of several processes has to say something; None where nobody asks."""
        return None if self.watchdog is None else self.watchdog / 4

    def ready(self, addresses: Sequence[Address]) -> None:
        """Tell that connections are accepted."""
        self._tell("READY=1", "STATUS=listening on " + ", ".join(map(str, addresses)))

    def stopping(self) -> None:
        """Tell that the service drains."""
        self._tell("STOPPING=1", "STATUS=draining")

    def alive(self) -> None:
        """Tell that the service does what it should."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # "@" stands for the zero byte of an address without a file.
        address = re.sub("^@", "\0", self._address)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warning("systemd cannot be told %s: %s", lines[0], error)


class Watchdog:
    """When to tell that several processes are alive: in time, and only if all of them are."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        # Half of what systemd waits for, as it recommends; also how long a process may be silent.
        self._half = math.inf if notifier.watchdog is None else notifier.watchdog / 2
        self._due = math.inf

    def start(self, now: float) -> None:
        """Begin to tell: the service is ready."""
        self._due = now + self._half

    def date(self, now: float) -> float | None:
        """Return when to look next if nothing is heard until then."""
        return self._due if now < self._due < math.inf else None

    def look(self, now: float, heard: Iterable[float]) -> None:
        """Tell it if it is time to; `heard` is when each process has said something last."""
        if now >= self._due and all(now - last <= self._half for last in heard):
            self._notifier.alive()
            self._due = now + self._half
