"""Signals: what each one means; queued until an action is attached, or as a pipe to poll.

Does not know event loops. `worker` and `admin` attach actions to a `SignalQueue`, `supervisor`
polls a `SignalPipe`.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Reloads where there are files to reload, otherwise drains.
HANGUP: Final = signal.SIGHUP
# Handled because their default action would end the process.
UNUSED: Final = (signal.SIGUSR1, signal.SIGUSR2)

_READ_SIZE: Final = 4096

_log = logging.getLogger("cmux_proxy")

# Called with the number of a signal.
Action = Callable[[int], object]


def handled_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that a process of the proxy handles.

    SIGHUP stays ignored if it is ignored when the process starts, as nohup does.
    """
    if signal.getsignal(HANGUP) is signal.SIG_IGN:
        return (*STOP_SIGNALS, *UNUSED)
    return (*STOP_SIGNALS, HANGUP, *UNUSED)


def log_unused(number: int) -> None:
    """Log that a signal is ignored."""
    _log.warning("%s has no meaning here and is ignored", signal.Signals(number).name)


class SignalQueue:
    """A context manager that queues signals until an action is attached.

    With `exits_on_second_stop`, a second stop signal ends the process from within the handler: that
    needs no event loop, and it interrupts a blocked write. Only the main thread can use it.
    """

    def __init__(self, exits_on_second_stop: bool) -> None:
        self._exits_on_second_stop = exits_on_second_stop
        self._is_stopping = False
        self._action: Action | None = None
        self._queue: list[int] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {
            number: signal.signal(number, self._handle) for number in handled_signals()
        }
        return self

    def __exit__(self, *_: object) -> None:
        _restore_handlers(self._handlers)

    def attach(self, action: Action) -> None:
        """Call `action` for each signal, queued ones first; it runs in the signal handler."""
        self._action = action
        for number in self.take():
            action(number)

    def detach(self) -> None:
        """Queue signals again."""
        self._action = None

    def take(self) -> list[int]:
        """Return the queued signals in order, and empty the queue."""
        numbers, self._queue = self._queue, []
        return numbers

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            if self._is_stopping and self._exits_on_second_stop:
                os._exit(128 + number)
            self._is_stopping = True
        if self._action is None:
            self._queue.append(number)
        else:
            self._action(number)


def _restore_handlers(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        # None stands for a handler that was not set from Python, and cannot be restored.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


class SignalPipe:
    """A context manager in which the given signals do nothing except make it readable.

    Only the main thread can use it.
    """

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self._numbers = numbers
        self._handlers: dict[signal.Signals, Any] = {}
        self._read = self._write = self._previous_fd = -1

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._previous_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # Ignored signals do not reach the pipe, and ignored children could not be waited for.
        self._handlers = {number: signal.signal(number, _do_nothing) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        _restore_handlers(self._handlers)
        signal.set_wakeup_fd(self._previous_fd)
        self._close()

    def fileno(self) -> int:
        """Return the descriptor that is readable after a signal."""
        return self._read

    def take(self) -> list[signal.Signals]:
        """Return the signals received since the last call, in order, without waiting."""
        try:
            data = os.read(self._read, _READ_SIZE)
        except BlockingIOError:
            return []
        return [number for byte in data for number in self._numbers if number == byte]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Block the signals; a process that is forked meanwhile starts with them blocked."""
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)

    def abandon(self) -> None:
        """Close it in a forked process; the signals get their default actions there."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        os.close(self._read)
        os.close(self._write)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal whose number is already in the pipe."""
