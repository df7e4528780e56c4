"""Writes the access log of one process in a thread, so that the event loop never waits for a disk.

Records wait in a queue that is limited in lines and bytes. Records that find no room in it and
lines that cannot be written are counted. The thread takes all records that wait and writes them
at once, because waking up costs most. It runs only while records come: in a process with several
threads the kernel counts the users of a file at each read and write, which costs every request
more than the log does. `reopen` opens the path again after log rotation.
"""

import contextlib
import logging
import os
import select
import threading
import time
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, NamedTuple, Self

from cmux_proxy.config.sections import Observability
from cmux_proxy.observe.access_log import FORMATS, missing
from cmux_proxy.observe.record import Record
from cmux_proxy.server.access_log_file import STANDARD_OUTPUT, has_file, open_file

# Bytes that a record takes in memory besides its texts.
_RECORD_BYTES: Final = 512
# Lines that are written at once, so that other threads get their turn.
_BATCH: Final = 256
# Seconds that the last lines may take at the end.
_CLOSE_TIMEOUT: Final = 1.0

_log = logging.getLogger("cmux_proxy")

# A record with the time of day, the descriptor that lines go to from now on, or None for the end.
_Item = tuple[float, Record] | int | None


class QueueLimits(NamedTuple):
    """Lines and bytes that may wait, and the seconds after which an idle thread ends."""

    max_lines: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    idle_timeout: float = 10.0


DEFAULT_LIMITS: Final = QueueLimits()


class AccessLogWriter:
    """Takes records while its `with` block lasts, and writes those that wait before that ends."""

    def __init__(
        self,
        observability: Observability,
        limits: QueueLimits = DEFAULT_LIMITS,
        stdout: int = 1,
        stderr: int = 2,
    ) -> None:
        self._path = observability.access_log_file if has_file(observability) else None
        self._format_name = observability.log_format
        self._format = FORMATS[observability.log_format]
        self._limits = limits
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        # Bytes of the records that were put into the queue and taken from it. Each of the two
        # numbers is changed by one thread only.
        self._bytes_put = 0
        self._bytes_taken = 0
        # Lines that found no room in the queue, that could not be written, and that the log itself
        # reports as missing.
        self._dropped = 0
        self._failed = 0
        self._reported = 0
        # What `_failed` was when a line was written last.
        self._failed_before = 0
        # Whether the last line was written in part only.
        self._is_torn = False
        is_to_output = observability.access_log_file == STANDARD_OUTPUT
        self._descriptor = stdout if is_to_output else stderr
        self._thread: threading.Thread | None = None
        # Held while an item is put into the queue, and while the thread decides to end.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._descriptor = open_file(self._path)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._queue.put(None)
            thread = self._thread
        if thread is None:
            self._run()
        else:
            thread.join(_CLOSE_TIMEOUT)
        if self._path is not None and (thread is None or not thread.is_alive()):
            os.close(self._descriptor)

    def put(self, record: Record) -> None:
        """Queue a record, or count it as lost; never waits."""
        size = _size_of(record)
        has_room = self.waiting_bytes() + size <= self._limits.max_bytes
        if has_room and self._queue.qsize() < self._limits.max_lines:
            self._bytes_put += size
            self._enqueue((time.time(), record))
        else:
            self._dropped += 1

    def waiting_bytes(self) -> int:
        """Return the size of the records in the queue."""
        return self._bytes_put - self._bytes_taken

    def lost(self) -> dict[str, int]:
        """Return how many lines were lost, by reason."""
        return {"queue_full": self._dropped, "write_failed": self._failed}

    def reopen(self) -> None:
        """Open the path again after log rotation; keep the old file where that fails."""
        if self._path is not None:
            try:
                self._enqueue(open_file(self._path))
            except OSError as error:
                _log.warning("the access log cannot be opened again: %s", error)

    def _enqueue(self, item: _Item) -> None:
        with self._lock:
            self._queue.put(item)
            if self._thread is None:
                # A daemon, because a file that nobody reads must not keep the process alive.
                thread = threading.Thread(target=self._run, name="access log", daemon=True)
                # Where a thread cannot be started, the next record tries again.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _next(self) -> _Item:
        """Wait for the next item; return None at the end, or after the idle timeout."""
        while True:
            try:
                return self._queue.get(timeout=self._limits.idle_timeout)
            except Empty:
                with self._lock:
                    if self._queue.empty():
                        self._thread = None
                        return None

    def _run(self) -> None:
        lines: list[str] = []
        while (item := self._next()) is not None:
            if isinstance(item, tuple):
                at, record = item
                self._bytes_taken += _size_of(record)
                lines.append(self._format(record, at))
                if len(lines) < _BATCH and not self._queue.empty():
                    continue
            self._write(lines)
            lines.clear()
            if isinstance(item, int):
                os.close(self._descriptor)
                self._descriptor = item
                self._is_torn = False
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        """Write lines, after one that says how many are missing, if any are."""
        lost = self._dropped + self._failed
        gap = [missing(lost - self._reported, self._format_name, time.time())]
        output = gap + lines if lost > self._reported else lines
        if not output:
            return
        text = "".join([f"{line}\n" for line in output])
        # A line that was written in part must not run together with the next one.
        data = (b"\n" if self._is_torn else b"") + text.encode("ascii", "backslashreplace")
        written = self._write_bytes(data)
        if written:
            self._is_torn = not data.endswith(b"\n", 0, written)
        unwritten = data.count(b"\n", written)
        self._failed += min(unwritten, len(lines))
        if unwritten < len(output):
            self._reported = lost
        if not unwritten:
            self._log_recovery()

    def _write_bytes(self, data: bytes) -> int:
        """Write, and return how many bytes were written: fewer than all where it failed."""
        written = 0
        view = memoryview(data)
        try:
            while written < len(data):
                try:
                    written += os.write(self._descriptor, view[written:])
                except BlockingIOError:
                    # Another process made standard error non-blocking, for all that share it.
                    _wait_until_writable(self._descriptor)
        except OSError as error:
            # Logged once, because a full disk stays full for many lines.
            if self._failed == self._failed_before:
                _log.warning("the access log cannot be written: %s", error)
        return written

    def _log_recovery(self) -> None:
        """Log that lines are written again, where some were not."""
        lost, self._failed_before = self._failed - self._failed_before, self._failed
        if lost:
            _log.warning("the access log can be written again; lines lost: %d", lost)


def _size_of(record: Record) -> int:
    return _RECORD_BYTES + len(record.path) + len(record.workspace)


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
