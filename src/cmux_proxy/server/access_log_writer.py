"""Writes the access log of one process, in a thread of its own: the event loop never waits for it.

Records wait in a queue, which is bounded by lines and by bytes; what finds no room there, and what
cannot be written, is counted. The thread takes all that are there and writes them at once, since
what costs is to wake up. It is there only while lines come: in a process of several threads the
kernel counts for each read and write who uses the file, which costs every request more than the log
does. A file is opened anew on request, after somebody has moved it away.
"""

import contextlib
import errno
import logging
import os
import select
import stat
import threading
import time
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

from cmux_proxy.config.sections import Observability
from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.access_log import FORMATS, missing
from cmux_proxy.observe.record import Record

MAX_LINES: Final = 10_000
MAX_BYTES: Final = 8 * 1024 * 1024
# What a record takes in memory, besides its texts.
_RECORD_BYTES: Final = 512
# So many lines are written at once, so that other threads have their turn.
_AT_ONCE: Final = 256
# How many seconds the last lines may take.
_MOST_PATIENCE: Final = 1.0
# For how many seconds the thread waits for more.
_IDLE: Final = 10.0
_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2
# The name of a file that stands for standard output.
STANDARD_OUTPUT: Final = "-"

_log = logging.getLogger("cmux_proxy")

# A record with the time of day, the descriptor that lines go to from now on, or None for the end.
_Item = tuple[float, Record] | int | None


class LogWriter:
    """Takes records while its `with` lasts; writes what waits before that ends."""

    def __init__(self, observability: Observability) -> None:
        self._path = observability.access_log_file if has_file(observability) else None
        self._format_name = observability.log_format
        self._format = FORMATS[observability.log_format]
        self._waiting: SimpleQueue[_Item] = SimpleQueue()
        # Bytes of records that were put into the queue, and that were taken out: each number has
        # one thread that changes it.
        self._put = 0
        self._taken = 0
        # Lines that found no room in the queue, that could not be written, and that the log says
        # are missing.
        self._dropped = 0
        self._failed = 0
        self._reported = 0
        # What `_failed` was when the last line was written.
        self._failed_before = 0
        self._is_torn = False
        is_to_output = observability.access_log_file == STANDARD_OUTPUT
        self._descriptor = _STANDARD_OUTPUT if is_to_output else _STANDARD_ERROR
        self._thread: threading.Thread | None = None
        # Held while something is put into the queue, and while the thread sees that it may end.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._descriptor = _open(self._path)
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
            os.close(self._descriptor)

    def put(self, record: Record) -> None:
        """Have a record written; never waits."""
        size = _size_of(record)
        held = self._put - self._taken
        if held + size <= MAX_BYTES and self._waiting.qsize() < MAX_LINES:
            self._put += size
            self._hand_over((time.time(), record))
        else:
            self._dropped += 1

    def lost(self) -> dict[str, int]:
        """Return how many lines were lost, by what has kept them out."""
        return {"queue_full": self._dropped, "write_failed": self._failed}

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
                self._taken += _size_of(record)
                lines.append(self._format(record, at))
                if len(lines) < _AT_ONCE and not self._waiting.empty():
                    continue
            self._write(lines)
            lines.clear()
            if isinstance(item, int):
                os.close(self._descriptor)
                self._descriptor = item
                self._is_torn = False
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        """Write lines, behind one that says how many are missing, if some are."""
        lost = self._dropped + self._failed
        gap = [missing(lost - self._reported, self._format_name, time.time())]
        told = gap + lines if lost > self._reported else lines
        if not told:
            return
        text = "".join([f"{line}\n" for line in told])
        # A line of which only a part was written must not grow together with the next one.
        data = (b"\n" if self._is_torn else b"") + text.encode("ascii", "backslashreplace")
        written = self._emit(data)
        if written:
            self._is_torn = not data.endswith(b"\n", 0, written)
        unwritten = data.count(b"\n", written)
        self._failed += min(unwritten, len(lines))
        if unwritten < len(told):
            self._reported = lost
        if not unwritten:
            self._recover()

    def _emit(self, data: bytes) -> int:
        """Write, and return how many bytes that were: fewer than all where it failed."""
        written = 0
        view = memoryview(data)
        try:
            while written < len(data):
                try:
                    written += os.write(self._descriptor, view[written:])
                except BlockingIOError:
                    # Somebody else has made standard error non-blocking, for all who share it.
                    _wait_for_room(self._descriptor)
        except OSError as error:
            # Told once: a disk that is full is so for many lines.
            if self._failed == self._failed_before:
                _log.warning("the access log cannot be written: %s", error)
        return written

    def _recover(self) -> None:
        """Say that lines are written again, if they were not."""
        lost, self._failed_before = self._failed - self._failed_before, self._failed
        if lost:
            _log.warning("the access log can be written again; lines lost: %d", lost)


def _size_of(record: Record) -> int:
    return _RECORD_BYTES + len(record.path) + len(record.workspace)


def has_file(observability: Observability) -> bool:
    """Return whether there is a file that can be opened again, written to or not."""
    return (
        observability.access_log_file is not None
        and observability.access_log_file != STANDARD_OUTPUT
    )


def check_file(observability: Observability) -> None:
    """Raise ConfigError where the file is wanted and cannot be written."""
    path = observability.access_log_file
    if path is not None and has_file(observability) and observability.access_log != "off":
        try:
            os.close(_open(path))
        except OSError as error:
            reason = f"{path} cannot be opened: {error.strerror}"
            if error.errno == errno.ENXIO:
                # A socket, as systemd gives a service for its standard output.
                reason += "; it is a socket: use - for standard output"
            raise ConfigError("observability.access_log_file", reason) from None


def _open(path: str) -> int:
    """Open a path to append to it, without waiting for a reader where it is a named pipe."""
    # With a reading end of its own a pipe waits for nobody, and readers may come and go.
    access = os.O_RDWR if _is_pipe(path) else os.O_WRONLY
    return os.open(path, access | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _wait_for_room(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
