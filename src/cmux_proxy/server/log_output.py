"""Writes blocks of lines to a descriptor, and counts the lines that it does not take.

Blocking: called in the thread of `access_log_writer.py`. Lines that are missing are reported in
the log itself, before the next line that can be written.
"""

import logging
import os
import select
import stat
import time
from collections.abc import Iterator
from typing import Final

from cmux_proxy.observe.access_log import encode, missing

# A pipe or a socket takes this many bytes as a whole, never between those of another process.
# POSIX guarantees 512 bytes; Linux guarantees 4096.
_MAX_ATOMIC: Final = getattr(select, "PIPE_BUF", 512)

_log = logging.getLogger("cmux_proxy")


class LogOutput:
    """Writes to `descriptor`; `failed` is how many lines could not be written."""

    def __init__(self, descriptor: int, format_name: str) -> None:
        self._descriptor = descriptor
        self._format_name = format_name
        self._is_own = False
        self.failed = 0
        # Lines that the log itself reports as missing.
        self._reported = 0
        # What `failed` was when a line was written last.
        self._failed_before = 0
        # Whether the last line was written in part only.
        self._is_torn = False

    def replace(self, descriptor: int) -> None:
        """Write to another descriptor from now on, and close it at the end."""
        self.close()
        self._descriptor = descriptor
        self._is_own = True
        self._is_torn = False

    def close(self) -> None:
        """Close the descriptor, if it came from `replace`."""
        if self._is_own:
            os.close(self._descriptor)
            self._is_own = False

    def write(self, block: bytes, dropped: int) -> None:
        """Write whole lines, after one that says how many are missing, if any are.

        `dropped` is how many lines have not even come here so far.
        """
        lost = dropped + self.failed
        gap = b""
        if lost > self._reported:
            gap = encode(missing(lost - self._reported, self._format_name, time.time()))
        # A line that was written in part must not run together with the next one.
        before = b"\n" + gap if self._is_torn else gap
        data = before + block if before else block
        written = self._write_bytes(data)
        if written:
            self._is_torn = not data.endswith(b"\n", 0, written)
        unwritten = data.count(b"\n", written)
        lines = block.count(b"\n") if unwritten or gap else 0
        self.failed += min(unwritten, lines)
        if gap and unwritten <= lines:
            self._reported = lost
        if not unwritten:
            self._log_recovery()

    def _write_bytes(self, data: bytes) -> int:
        """Write, and return how many bytes were written: fewer than all where it failed."""
        written = 0
        try:
            for piece in self._pieces(data):
                while piece:
                    try:
                        count = os.write(self._descriptor, piece)
                    except BlockingIOError:
                        # Another process made standard error non-blocking, for all that share it.
                        _wait_until_writable(self._descriptor)
                        continue
                    written += count
                    piece = piece[count:]
        except OSError as error:
            # Logged once, because a full disk stays full for many lines.
            if self.failed == self._failed_before:
                _log.warning("the access log cannot be written: %s", error)
        return written

    def _pieces(self, data: bytes) -> Iterator[memoryview]:
        """Split data into what is written at once, so that lines of several processes do not mix.

        A file takes it as a whole. A line above the limit is a piece by itself.
        """
        view = memoryview(data)
        start = 0
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            while len(data) - start > _MAX_ATOMIC:
                end = data.rfind(b"\n", start, start + _MAX_ATOMIC) + 1
                end = end or data.index(b"\n", start) + 1
                yield view[start:end]
                start = end
        yield view[start:]

    def _log_recovery(self) -> None:
        """Log that lines are written again, where some were not."""
        lost, self._failed_before = self.failed - self._failed_before, self.failed
        if lost:
            _log.warning("the access log can be written again; lines lost: %d", lost)


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
