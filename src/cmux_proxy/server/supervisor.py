"""Starts the workers, restarts those that have ended, forwards signals, and stops all of them.

Serves no connection and has neither threads nor an event loop, so that it can fork whenever a
worker is missing. Notifies systemd for all workers. Does not know what a worker does. Neighbours:
`launch` creates it, `slot` has the process of one worker.
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
from cmux_proxy.server.signals import HANGUP, UNUSED, SignalPipe, handled_signals, log_unused
from cmux_proxy.server.slot import ProcessSlot

_log = logging.getLogger("cmux_proxy")

# Seconds after the drain timeout until a process that has not ended is killed.
KILL_GRACE: Final = 2.0

# Called in a new process with its sockets and its lifeline.
Serve = Callable[[Sequence[socket.socket], socket.socket], None]


class Job(NamedTuple):
    """The sockets of a process, and the function that serves them."""

    sockets: Sequence[socket.socket]
    serve: Serve


class SupervisorOptions(NamedTuple):
    """The drain timeout in seconds, and whether workers have files to reload on SIGHUP."""

    drain_timeout: float = 10.0
    can_reload: bool = False


_DEFAULT_OPTIONS: Final = SupervisorOptions()


class Supervisor:
    """Keeps one process running for each job; owns the sockets.

    `last_job` is not a worker: its process is stopped when all workers have ended. `on_stop` is
    called when no worker will be started again.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        notifier: Notifier,
        options: SupervisorOptions = _DEFAULT_OPTIONS,
        last_job: Job | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self._notifier = notifier
        self._watchdog = Watchdog(notifier)
        self._workers = [
            ProcessSlot(f"worker {number}", job.sockets) for number, job in enumerate(jobs, start=1)
        ]
        self._last = None
        if last_job is not None:
            self._last = ProcessSlot("the admin listener", last_job.sockets)
        self._slots = self._workers if self._last is None else [*self._workers, self._last]
        all_jobs = jobs if last_job is None else [*jobs, last_job]
        self._serve = {
            slot.name: job.serve for slot, job in zip(self._slots, all_jobs, strict=True)
        }
        self._signals = SignalPipe((*handled_signals(), signal.SIGCHLD))
        self._options = options
        self._on_stop = on_stop
        self._is_stopping = False
        self._is_last_stopping = False
        self._killed_status = 0
        # When processes that have not ended are killed.
        self._kill_at = math.inf

    def run(self, on_accepting: Callable[[], None], queued_signals: Sequence[int] = ()) -> int:
        """Supervise until a stop signal and the end of all processes; return the worst status.

        `on_accepting` is called once, as soon as all processes accept. `queued_signals` are those
        received before the call.
        """
        was_accepting = False
        try:
            with self._signals:
                self._handle_signals(queued_signals)
                while not (self._is_stopping and all(slot.is_empty for slot in self._slots)):
                    self._start_missing()
                    self._wait()
                    self._handle_signals(self._signals.take())
                    self._reap()
                    self._stop_last()
                    self._kill_overdue()
                    if not was_accepting and all(slot.is_accepting for slot in self._slots):
                        was_accepting = True
                        on_accepting()
                        self._watchdog.start(time.monotonic())
                    self._check_watchdog()
        finally:
            self._close()
        return self._killed_status or max(slot.exit_status for slot in self._workers)

    def _start_missing(self) -> None:
        if self._is_stopping:
            return
        now = time.monotonic()
        for slot in self._slots:
            if slot.next_start is not None and slot.next_start <= now:
                # A signal before the new process has its handlers would end it.
                with self._signals.blocked():
                    slot.start(partial(self._work, slot), now)

    def _work(self, own_slot: ProcessSlot, lifeline: socket.socket) -> None:
        """Serve, in the new process, after closing what belongs to other slots."""
        self._signals.abandon()
        for slot in self._slots:
            slot.close_lifeline()
            for sock in slot.sockets:
                if sock not in own_slot.sockets:
                    sock.close()
        self._serve[own_slot.name](own_slot.sockets, lifeline)

    def _wait(self) -> None:
        """Wait for a signal, a heartbeat, or the next deadline."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        lifelines = {fd: slot for slot in self._slots if (fd := slot.lifeline_fd()) is not None}
        for fd in lifelines:
            poll.register(fd, select.POLLIN)
        startable = () if self._is_stopping else self._slots
        timeout = poll_timeout(time.monotonic(), startable, self._watchdog, self._kill_at)
        for fd, _events in poll.poll(timeout):
            if fd in lifelines:
                lifelines[fd].read_lifeline(time.monotonic())

    def _check_watchdog(self) -> None:
        """Notify systemd's watchdog if all workers work; while stopping some may have ended."""
        running = [slot for slot in self._workers if not (self._is_stopping and slot.is_empty)]
        self._watchdog.check(time.monotonic(), [slot.last_heartbeat for slot in running])

    def _handle_signals(self, numbers: Sequence[int]) -> None:
        """Act on signals; call it before reaping, because workers may have got the same signals."""
        for number in numbers:
            if number in UNUSED:
                log_unused(number)
            elif number == HANGUP and self._options.can_reload:
                for slot in self._slots:
                    slot.send_signal(number)
            elif number == signal.SIGCHLD or (number == HANGUP and self._is_stopping):
                continue
            elif self._is_stopping:
                self._killed_status = 128 + number
                for slot in self._slots:
                    slot.kill()
            else:
                self._stop()

    def _stop(self) -> None:
        self._is_stopping = True
        self._kill_at = time.monotonic() + self._options.drain_timeout + KILL_GRACE
        self._notifier.stopping()
        if self._on_stop is not None:
            self._on_stop()
        for slot in self._workers:
            # First, so that the addresses are free as soon as the workers stop accepting.
            slot.close_sockets()
        for slot in self._workers:
            slot.send_signal(signal.SIGTERM)

    def _kill_overdue(self) -> None:
        """Kill the processes that have not ended in time because they are suspended or hang."""
        if time.monotonic() < self._kill_at:
            return
        self._kill_at = math.inf
        overdue = [slot for slot in self._workers if not slot.is_empty]
        for slot in overdue or [slot for slot in self._slots if not slot.is_empty]:
            _log.warning("%s does not end, and is killed", slot.name)
            slot.kill()

    def _stop_last(self) -> None:
        """Stop the process of the last job once all workers have ended."""
        last = self._last
        if last is None or last.is_empty or not self._is_stopping or self._is_last_stopping:
            return
        if all(slot.is_empty for slot in self._workers):
            self._is_last_stopping = True
            self._kill_at = time.monotonic() + KILL_GRACE
            last.close_sockets()
            last.send_signal(signal.SIGTERM)

    def _reap(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            slot.reap(now, restarts=not self._is_stopping)

    def _close(self) -> None:
        """Close everything; workers that still run drain because their lifelines end."""
        for slot in self._slots:
            slot.close_lifeline()
            slot.close_sockets()


def poll_timeout(
    now: float, startable: Sequence[ProcessSlot], watchdog: Watchdog, kill_at: float
) -> int | None:
    """Return the milliseconds until a slot starts, the watchdog is due, or processes are killed.

    None means no timeout: a worker that sends no heartbeat is noticed when it sends one again.
    """
    deadlines = [watchdog.next_check(now), *(slot.next_start for slot in startable)]
    if kill_at < math.inf:
        deadlines.append(kill_at)
    earliest = min((deadline for deadline in deadlines if deadline is not None), default=None)
    # Rounded up, because waking up too early would spin.
    return None if earliest is None else max(0, math.ceil((earliest - now) * 1000))
