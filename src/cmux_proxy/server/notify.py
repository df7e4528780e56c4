"""Service notifications to systemd: ready, stopping and alive (sd_notify(3)).

The protocol is a datagram of lines to the socket that a variable names. systemd guarantees that it
is stable, so no library is needed.
"""

import logging
import math
import os
import re
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Final, Self

from cmux_proxy.config.address import Address

_log = logging.getLogger("cmux_proxy")

# Seconds that a notification may block while systemd does not read.
_SEND_TIMEOUT: Final = 1.0
_MICROSECONDS: Final = 1e6


class Notifier:
    """Sends the service's state to systemd; does nothing where systemd does not expect it.

    `watchdog_timeout` is the number of seconds without a notification after which systemd treats
    the service as hung; None where there is no watchdog.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_timeout: float | None = None,
        send_timeout: float = _SEND_TIMEOUT,
    ) -> None:
        self._address = address
        self._send_timeout = send_timeout
        self.watchdog_timeout = watchdog_timeout

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Read systemd's variables; remove them, because they are for this process alone."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        is_for_this_process = pid in ("", str(os.getpid()))
        is_period = re.fullmatch(r"0*[1-9][0-9]{0,15}", period, re.ASCII)
        if not address or not is_for_this_process or not is_period:
            return cls(address)
        return cls(address, int(period) / _MICROSECONDS)

    @property
    def heartbeat_interval(self) -> float | None:
        """Seconds between the heartbeats of each worker; None where there is no watchdog."""
        return None if self.watchdog_timeout is None else self.watchdog_timeout / 4

    def ready(self, addresses: Sequence[Address]) -> None:
        """Notify that connections are accepted."""
        self._send("READY=1", "STATUS=listening on " + ", ".join(map(str, addresses)))

    def stopping(self) -> None:
        """Notify that the service drains."""
        self._send("STOPPING=1", "STATUS=draining")

    def alive(self) -> None:
        """Notify the watchdog that the service works."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # "@" stands for the zero byte of an abstract address.
        address = re.sub("^@", "\0", self._address)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(self._send_timeout)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warning("cannot notify systemd of %s: %s", lines[0], error)


class Watchdog:
    """Notifies systemd's watchdog for several processes, as long as all of them send heartbeats.

    Does not know a clock: `now` and the times of heartbeats are of one monotonic clock, in seconds.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        # systemd recommends half of its timeout; also the longest time between two heartbeats.
        timeout = notifier.watchdog_timeout
        self._interval = math.inf if timeout is None else timeout / 2
        self._next_notification = math.inf

    def start(self, now: float) -> None:
        """Start: the service is ready."""
        self._next_notification = now + self._interval

    def next_check(self, now: float) -> float | None:
        """Return when to call `check` if no heartbeat arrives before; None for never."""
        return self._next_notification if now < self._next_notification < math.inf else None

    def check(self, now: float, heartbeats: Iterable[float]) -> None:
        """Notify if it is time; `heartbeats` are the times of each process's latest heartbeat."""
        if now >= self._next_notification and all(
            now - heartbeat <= self._interval for heartbeat in heartbeats
        ):
            self._notifier.alive()
            self._next_notification = now + self._interval
