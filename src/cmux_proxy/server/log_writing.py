"""Writes the access log of one process, in a thread of its own: the event loop never waits for it.

Records wait in a queue; where it is full they are dropped, and that is told. The thread takes all
that are there and writes them at once, since what costs is to wake up. It is there only while lines
come: in a process of several threads the kernel counts for each read and write who uses the file,
which costs every request more than the log does. A file is opened anew on request, after somebody
has moved it away.
"""

import contextlib
import logging
import os
import stat
import sys
import threading
import time
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self, TextIO

from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.access_log import FORMATS, missing
from cmux_proxy.observe.record import Record
from cmux_proxy.settings import Observing

MOST_WAITING: Final = 10_000
# So many lines are written at once, so that other threads have their turn.
_AT_ONCE: Final = 256
# How many seconds the last lines may take.
_MOST_PATIENCE: Final = 2.0
# For how many seconds the thread waits for more.
_IDLE: Final = 10.0

_log = logging.getLogger("cmux_proxy")

# A record with the time of day, the file that lines go to from now on, or None for the end.
_Item = tuple[float, Record] | TextIO | None


class LogWriter:
    """Takes records while its `with` lasts; writes what waits before that ends."""

    def __init__(self, observing: Observing) -> None:
        self._path = observing.access_log_file
        self._format_name = observing.log_format
        self._format = FORMATS[observing.log_format]
        self._waiting: SimpleQueue[_Item] = SimpleQueue()
        self._dropped = 0
        self._is_failing = False
        self._stream: TextIO = sys.stderr
        self._thread: threading.Thread | None = None
        # Held while something is put into the queue, and while the thread sees that it may end.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._stream = _open(self._path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._waiting.put(None)
            thread = self._thread
        if thread is None:
            self._run()
        else:
            thread.join(_MOST_PATIENCE)
        if self._path is not None and (thread is None or not thread.is_alive()):
            _close(self._stream)

    def put(self, record: Record) -> None:
        """Have a record written; never waits."""
        if self._waiting.qsize() < MOST_WAITING:
            self._hand_over((time.time(), record))
        else:
            self._dropped += 1

    def reopen(self) -> None:
        """Open the path again, which may have become another file; else go on with the old one."""
        if self._path is not None:
            try:
                self._hand_over(_open(self._path))
            except OSError as error:
                _log.warning("the access log cannot be opened anew: %s", error)

    def _hand_over(self, item: _Item) -> None:
        with self._lock:
            self._waiting.put(item)
            if self._thread is None:
                # A daemon, since what nobody reads must not keep the process.
                thread = threading.Thread(target=self._run, name="access log", daemon=True)
                # Where there can be no thread, the next line tries again.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _next(self) -> _Item:
        """Wait for what comes next; None where nothing comes any more, or nothing for long."""
        while True:
            try:
                return self._waiting.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._thread = None
                        return None

    def _run(self) -> None:
        lines: list[str] = []
        while (item := self._next()) is not None:
            if isinstance(item, tuple):
                at, record = item
                lines.append(self._format(record, at))
                if len(lines) < _AT_ONCE and not self._waiting.empty():
                    continue
            self._write(lines)
            lines.clear()
            if not isinstance(item, tuple):
                _close(self._stream)
                self._stream = item
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(missing(dropped, self._format_name, time.time()))
        if not lines:
            return
        try:
            self._stream.write("".join([f"{line}\n" for line in lines]))
            self._stream.flush()
            self._is_failing = False
        except (OSError, ValueError) as error:
            # Told once: a disk that is full is so for many lines.
            if not self._is_failing:
                _log.warning("the access log cannot be written: %s", error)
            self._is_failing = True


def check_file(observing: Observing) -> None:
    """Raise ConfigError where the file is wanted and cannot be written."""
    path = observing.access_log_file
    if path is not None and observing.access_log != "off":
        try:
            _open(path).close()
        except OSError as error:
            reason = f"{path} cannot be opened: {error.strerror}"
            raise ConfigError("observing.access_log_file", reason) from None


def _open(path: str) -> TextIO:
    return open(path, "a", encoding="ascii", errors="backslashreplace", opener=_descriptor)


def _descriptor(path: str, flags: int) -> int:
    """Open a path to append to it, without waiting for a reader where it is a named pipe."""
    if _is_pipe(path):
        # With a reading end of its own it waits for nobody, and readers may come and go.
        flags = flags & ~os.O_WRONLY | os.O_RDWR
    return os.open(path, flags, 0o666)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _close(stream: TextIO) -> None:
    """Close a file; what cannot be written now either has been told of."""
    with contextlib.suppress(OSError):
        stream.close()
