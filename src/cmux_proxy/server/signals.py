"""Signals: which ones mean what; kept until somebody acts on them, or as a pipe to wait for.

Knows no event loop. `worker` and `administering` attach actions to `Signals`, `supervisor` has a
`SignalPipe`.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Reads files again where there are any to read, else it drains too.
HANGUP: Final = signal.SIGHUP
# They mean nothing, and would end the process.
UNUSED: Final = (signal.SIGUSR1, signal.SIGUSR2)

_READ = 4096

_log = logging.getLogger("cmux_proxy")

# What is done with a signal, by its number.
Action = Callable[[int], object]


def handled_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that a process of the proxy handles.

    A hang-up that is ignored when the process starts, as by nohup, stays ignored.
    """
    if signal.getsignal(HANGUP) is signal.SIG_IGN:
        return (*STOP_SIGNALS, *UNUSED)
    return (*STOP_SIGNALS, HANGUP, *UNUSED)


def report_unused(number: int) -> None:
    """Log that a signal is ignored."""
    _log.warning("%s has no meaning here and is ignored", signal.Signals(number).name)


class Signals:
    """While its `with` lasts, signals wait until an action is attached.

    With `exits_at_once`, a second stop signal ends the process from within the handler: it needs no
    event loop, and it interrupts a write that nobody reads. Only the main thread can have one.
    """

    def __init__(self, exits_at_once: bool) -> None:
        self._exits_at_once = exits_at_once
        self._is_stopping = False
        self._action: Action | None = None
        self._waiting: list[int] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {one: signal.signal(one, self._come) for one in handled_signals()}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _give_back(self._handlers)

    def attach(self, action: Action) -> None:
        """Have an action taken for each signal, those that wait first; it runs in the handler."""
        self._action = action
        for number in self.take():
            action(number)

    def detach(self) -> None:
        """Have signals wait again."""
        self._action = None

    def take(self) -> list[int]:
        """Return the signals that wait, in order."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _come(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            if self._is_stopping and self._exits_at_once:
                os._exit(128 + number)
            self._is_stopping = True
        if self._action is None:
            self._waiting.append(number)
        else:
            self._action(number)


def _give_back(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        # None stands for a handler that is not Python's, and cannot be had back.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


class SignalPipe:
    """While its `with` lasts, the signals given do nothing but make it readable.

    Only the main thread can have one.
    """

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self._numbers = numbers
        self._handlers: dict[signal.Signals, Any] = {}
        self._read = self._write = self._fd_before = -1

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # An ignored signal would not be told, and ignored children could not be waited for.
        self._handlers = {number: signal.signal(number, _do_nothing) for number in self._numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _give_back(self._handlers)
        signal.set_wakeup_fd(self._fd_before)
        self._close()

    def fileno(self) -> int:
        """Return what can be read when a signal has come."""
        return self._read

    def take(self) -> list[signal.Signals]:
        """Return the signals that have come, in order, without waiting."""
        try:
            data = os.read(self._read, _READ)
        except BlockingIOError:
            return []
        return [number for byte in data for number in self._numbers if number == byte]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Let no signal come; a process that is forked meanwhile begins without any, too."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def leave(self) -> None:
        """Let go of it in a process that was forked; the signals have their defaults there."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        os.close(self._read)
        os.close(self._write)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Be there: the number goes into the pipe before this is called."""
