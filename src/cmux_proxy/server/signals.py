"""Signals as something that can be waited for together with other things, without an event loop."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_READ = 4096


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
        for number, handler in self._handlers.items():
            # None stands for a handler that is not Python's, and cannot be had back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
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
