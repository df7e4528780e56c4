"""Starts the workers, starts dead ones anew, passes signals on, and ends all of them.

It serves nobody and has neither threads nor an event loop, so that it can fork whenever a worker is
missing. It speaks to systemd for all of them. Its neighbours are `running`, which makes one, and
`slot`, the place of one worker.
"""

import logging
import math
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from cmux_proxy.server.notify import Notifier, Watchdog
from cmux_proxy.server.signals import HANGUP, UNUSED, SignalPipe, handled_signals, report_unused
from cmux_proxy.server.slot import Slot

_log = logging.getLogger("cmux_proxy")

# What a worker does with its sockets and its lifeline.
Serve = Callable[[Sequence[socket.socket], socket.socket], None]
Job = tuple[Sequence[socket.socket], Serve]

# A worker that does not end is killed so many seconds after the drain timeout.
GRACE: Final = 2.0


class Policy(NamedTuple):
    """How long workers may drain, and whether a hang-up is for them to read files again."""

    drain: float = 10.0
    reloads: bool = False


_DEFAULT: Final = Policy()


class Supervisor:
    """Keeps a process for each job, a group of sockets and what to do with them; owns the sockets.

    The job `last` is no worker's: its process ends when all others have. `on_stop` is called when
    no worker is started any more.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        notifier: Notifier,
        policy: Policy = _DEFAULT,
        last: Job | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self._notifier = notifier
        self._watchdog = Watchdog(notifier)
        self._workers = [Slot(f"worker {n}", job[0]) for n, job in enumerate(jobs, start=1)]
        self._last = None if last is None else Slot("the admin listener", last[0])
        self._slots = self._workers if self._last is None else [*self._workers, self._last]
        every_job = jobs if last is None else [*jobs, last]
        self._serve = {slot.name: job[1] for slot, job in zip(self._slots, every_job, strict=True)}
        self._signals = SignalPipe((*handled_signals(), signal.SIGCHLD))
        self._policy = policy
        self._on_stop = on_stop
        self._is_stopping = False
        self._is_last_told = False
        self._killed_by = 0
        # When processes that have not ended are killed.
        self._kills_at = math.inf

    def run(self, on_accepting: Callable[[], None], early: Sequence[int] = ()) -> int:
        """Supervise until a signal comes and all have ended; return the worst status.

        `on_accepting` is called once, as soon as all accept. `early` are the signals that have come
        before.
        """
        is_told = False
        try:
            with self._signals:
                self._obey(early)
                while not (self._is_stopping and all(slot.is_empty for slot in self._slots)):
                    self._start_missing()
                    self._wait()
                    self._obey(self._signals.take())
                    self._reap()
                    self._end_last()
                    self._kill_late()
                    if not is_told and all(slot.is_accepting for slot in self._slots):
                        is_told = True
                        on_accepting()
                        self._watchdog.start(time.monotonic())
                    self._watch()
        finally:
            self._close()
        return self._killed_by or max(slot.status for slot in self._workers)

    def _start_missing(self) -> None:
        if self._is_stopping:
            return
        now = time.monotonic()
        for slot in self._slots:
            if slot.starts_at is not None and slot.starts_at <= now:
                # A signal that came before the new process has handlers of its own would end it.
                with self._signals.blocked():
                    slot.start(partial(self._work, slot), now)

    def _work(self, mine: Slot, lifeline: socket.socket) -> None:
        """In the new process: keep what is its own, and serve."""
        self._signals.leave()
        for slot in self._slots:
            slot.hang_up()
            for sock in slot.sockets:
                if sock not in mine.sockets:
                    sock.close()
        self._serve[mine.name](mine.sockets, lifeline)

    def _wait(self) -> None:
        """Wait for a signal, for news from a worker, or until one has to be started."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        awaited = {fd: slot for slot in self._slots if (fd := slot.awaited()) is not None}
        for fd in awaited:
            poll.register(fd, select.POLLIN)
        for fd, _events in poll.poll(self._patience()):
            if fd in awaited:
                awaited[fd].hear(time.monotonic())

    def _patience(self) -> float | None:
        """Return how many milliseconds there are until a worker, or the watchdog, wants something.

        A worker that is silent is waited for without an end: it is heard when it comes back.
        """
        now = time.monotonic()
        dates = [self._watchdog.date(now)]
        if self._kills_at < math.inf:
            dates.append(self._kills_at)
        if not self._is_stopping:
            dates += [slot.starts_at for slot in self._slots]
        soonest = min((date for date in dates if date is not None), default=None)
        # Rounded up: to wake up too early would be to spin.
        return None if soonest is None else max(0, math.ceil((soonest - now) * 1000))

    def _watch(self) -> None:
        """Have systemd told that all is well, if it is; at the end some may be gone."""
        present = [slot for slot in self._workers if not (self._is_stopping and slot.is_empty)]
        self._watchdog.look(time.monotonic(), [slot.heard_at for slot in present])

    def _obey(self, numbers: Sequence[int]) -> None:
        """Do what signals ask for; before reaping, since a worker may have got the same ones."""
        for number in numbers:
            if number in UNUSED:
                report_unused(number)
            elif number == HANGUP and self._policy.reloads:
                for slot in self._slots:
                    slot.signal(number)
            elif number == signal.SIGCHLD or (number == HANGUP and self._is_stopping):
                continue
            elif self._is_stopping:
                self._killed_by = 128 + number
                for slot in self._slots:
                    slot.kill()
            else:
                self._stop()

    def _stop(self) -> None:
        self._is_stopping = True
        self._kills_at = time.monotonic() + self._policy.drain + GRACE
        self._notifier.stopping()
        if self._on_stop is not None:
            self._on_stop()
        for slot in self._workers:
            # First, so that the addresses are free as soon as the workers stop accepting.
            slot.close()
        for slot in self._workers:
            slot.signal(signal.SIGTERM)

    def _kill_late(self) -> None:
        """End the processes that do not follow: they are stopped, or hang."""
        if time.monotonic() < self._kills_at:
            return
        self._kills_at = math.inf
        late = [slot for slot in self._workers if not slot.is_empty]
        for slot in late or [slot for slot in self._slots if not slot.is_empty]:
            _log.warning("%s does not end, and is killed", slot.name)
            slot.kill()

    def _end_last(self) -> None:
        """End the process that is to see the others' end, once it has."""
        last = self._last
        if last is None or last.is_empty or not self._is_stopping or self._is_last_told:
            return
        if all(slot.is_empty for slot in self._workers):
            self._is_last_told = True
            self._kills_at = time.monotonic() + GRACE
            last.close()
            last.signal(signal.SIGTERM)

    def _reap(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            slot.reap(now, restarts=not self._is_stopping)

    def _close(self) -> None:
        """Let go of everything; workers that are left drain by themselves."""
        for slot in self._slots:
            slot.hang_up()
            slot.close()
