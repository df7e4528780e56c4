"""Writes the access log of one process in a thread, so that the event loop never waits for a disk.

The event loop adds lines to a block. The block is handed over when it is full, when its first line
has waited for `_MAX_AGE`, and at the end. Blocks wait in a queue of limited size; while it has no
room for another one, further lines are lost and counted. A thread begins with the first block and
ends with the last one: in a process with several threads the kernel counts the users of a file at
each read and write, and an idle thread would make every request pay for that. `reopen` opens the
path again after log rotation. Neighbours: `observe/line_block.py` has the block, `log_output.py`
the descriptor.
"""

import _thread
import logging
from collections import deque
from collections.abc import Callable
from threading import Condition
from types import TracebackType
from typing import Final, Self

from cmux_proxy.config.sections import Observability
from cmux_proxy.net.stream import Handle
from cmux_proxy.observe.line_block import make_block
from cmux_proxy.server.access_log_file import STANDARD_OUTPUT, has_file, open_file
from cmux_proxy.server.log_output import LogOutput

# Bytes of the blocks that may wait to be written.
MAX_WAITING: Final = 8 * 1024 * 1024
# Seconds that a line may wait in its block.
_MAX_AGE: Final = 0.1
# Seconds that the last lines may take at the end.
_CLOSE_TIMEOUT: Final = 1.0

_log = logging.getLogger("cmux_proxy")


# Calls a function after some seconds: the method of the event loop.
CallLater = Callable[[float, Callable[[], None]], Handle]


class AccessLogWriter:
    """Takes lines while its `with` block lasts, and writes those that wait before that ends.

    `block` takes the lines; it and all methods are called in the event loop, of which `call_later`
    is the method of that name.
    """

    def __init__(
        self,
        observability: Observability,
        call_later: CallLater,
        max_waiting: int = MAX_WAITING,
        stdout: int = 1,
        stderr: int = 2,
    ) -> None:
        self._path = observability.access_log_file if has_file(observability) else None
        self._call_later = call_later
        self._timer: Handle | None = None
        self._max_waiting = max_waiting
        self.block = make_block(observability.log_format, self._start_timer, self._hand_over)
        is_to_output = observability.access_log_file == STANDARD_OUTPUT
        self._output = LogOutput(stdout if is_to_output else stderr, observability.log_format)
        # Blocks, and descriptors that all blocks behind them go to.
        self._queue: deque[bytes | int] = deque()
        # Bytes of the blocks that were put into the queue and that were written. Each of the two
        # numbers is changed by one thread only.
        self._bytes_put = 0
        self._bytes_written = 0
        self._is_writing = False
        # Held while the queue or `_is_writing` changes; notified when the thread ends.
        self._changed = Condition()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._output.replace(open_file(self._path))
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._enqueue(self.block.take())
        if self.wait_until_written(_CLOSE_TIMEOUT):
            # Blocks are left here only if no thread could be started.
            self._write_all()
            self._output.close()
        else:
            self._log_unwritten()

    def waiting_bytes(self) -> int:
        """Return the size of all lines that are not written yet."""
        return self._bytes_put - self._bytes_written + self.block.size()

    def lost(self) -> dict[str, int]:
        """Return how many lines were lost, by reason."""
        return {"queue_full": self.block.dropped, "write_failed": self._output.failed}

    def wait_until_written(self, timeout: float) -> bool:
        """Block until no thread writes; return False after that many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._is_writing, timeout)

    def reopen(self) -> None:
        """Open the path again after log rotation; keep the old file where that fails."""
        if self._path is None:
            return
        try:
            descriptor = open_file(self._path)
        except OSError as error:
            _log.warning("the access log cannot be opened again: %s", error)
            return
        # What was logged before goes to the old file.
        self._enqueue(self.block.take())
        self._enqueue(descriptor)

    def _start_timer(self) -> None:
        self._timer = self._call_later(_MAX_AGE, self._end_wait)

    def _end_wait(self) -> None:
        """Hand over what has waited long enough, now or as soon as the queue has room."""
        self.block.is_begun = False
        if self.block.size() and not self._hand_over():
            self.block.is_begun = True
            self._start_timer()

    def _hand_over(self) -> bool:
        """Queue the block; return False where it finds no room."""
        if self.waiting_bytes() > self._max_waiting:
            return False
        self._enqueue(self.block.take())
        return True

    def _enqueue(self, item: bytes | int) -> None:
        with self._changed:
            self._queue.append(item)
            if isinstance(item, bytes):
                self._bytes_put += len(item)
            if not self._is_writing:
                try:
                    # Not threading.Thread, whose start waits until the thread runs.
                    _thread.start_new_thread(self._write_all, ())
                except RuntimeError:
                    # The next block tries again.
                    return
                self._is_writing = True

    def _next(self) -> bytes | int | None:
        """Return the next item of the queue; None for none, and then nothing writes any more."""
        with self._changed:
            if self._queue:
                return self._queue.popleft()
            self._is_writing = False
            self._changed.notify()
            return None

    def _write_all(self) -> None:
        """Write what is in the queue."""
        while (item := self._next()) is not None:
            if isinstance(item, bytes):
                self._output.write(item, self.block.dropped)
                self._bytes_written += len(item)
            else:
                self._output.replace(item)

    def _log_unwritten(self) -> None:
        """Log that the process ends before all lines are written."""
        with self._changed:
            blocks = [item for item in self._queue if isinstance(item, bytes)]
            self._queue.clear()
        lines = sum(block.count(b"\n") for block in blocks)
        _log.warning("the access log is not taken at the end; lines lost: %d and more", lines)
