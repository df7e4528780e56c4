"""Writes the proxy's own log lines to a standard stream without waiting for its reader.

A pipe without a reader fills up, and a terminal may be halted; a blocking write would then hold the
event loop, and the end of the process with it. Lines that the stream does not take are buffered
here; lines that exceed the buffer are counted and lost. Uses no thread, so that the supervisor may
fork. The access log has a thread (`access_log_writer`) because it has many more lines.
"""

import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable
from functools import partial
from typing import Final, TextIO

# The size of the buffer, in bytes.
MAX_BUFFERED: Final = 65536
# POSIX guarantees that 512 bytes are written at once; Linux guarantees 4096.
_CHUNK_SIZE: Final = getattr(select, "PIPE_BUF", 512)

# Writes some bytes and returns how many; raises BlockingIOError where the stream takes none now.
Write = Callable[[bytes], int]


class LineStream:
    """Replaces a text stream; `write` never waits and never fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Bytes that the stream has not taken, and lines lost since the last report of that.
        self.buffered = b""
        self.lost_lines = 0
        self._owner = os.getpid()
        self._descriptor, self._write = _open_nonblocking(stream)

    def write(self, text: str) -> int:
        """Write a text, or buffer it until the next call; return its length."""
        if self._descriptor < 0:
            # A stream without a descriptor, such as one in memory.
            return self._stream.write(text)
        if self._owner != os.getpid():
            # The parent process writes what it had buffered before the fork.
            self._owner, self.buffered, self.lost_lines = os.getpid(), b"", 0
        self._flush_buffer()
        data = text.encode("utf-8", "backslashreplace")
        if self.lost_lines and not self.buffered:
            report = b"cmux-proxy: lines lost because nobody read them: %d\n" % self.lost_lines
            data = report + data
            self.lost_lines = 0
        if len(self.buffered) + len(data) <= MAX_BUFFERED:
            self.buffered += data
            self._flush_buffer()
        else:
            self.lost_lines += 1
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, as far as the stream takes it."""
        if self._descriptor < 0:
            self._stream.flush()
        else:
            self._flush_buffer()

    def _flush_buffer(self) -> None:
        try:
            while self.buffered:
                written = self._write(self.buffered[:_CHUNK_SIZE])
                self.buffered = self.buffered[written:]
        except BlockingIOError:
            return
        except OSError:
            # The reader has gone, or the disk is full.
            self.buffered = b""


def _open_nonblocking(stream: TextIO) -> tuple[int, Write]:
    """Return a descriptor for a stream, -1 where it has none, and a function that never blocks.

    The stream's own descriptor stays blocking, because that flag is shared with all processes that
    have it open, the shell above all. Opening the file again yields an independent flag.
    """
    try:
        stream.flush()
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return -1, len
    if stat.S_ISSOCK(mode):
        return descriptor, partial(_send_nonblocking, descriptor)
    if not stat.S_ISREG(mode):
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            return descriptor, partial(os.write, descriptor)
    return descriptor, partial(_write_if_ready, descriptor)


def _send_nonblocking(descriptor: int, data: bytes) -> int:
    sock = socket.socket(fileno=descriptor)
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    finally:
        sock.detach()


def _write_if_ready(descriptor: int, data: bytes) -> int:
    """Write to a blocking descriptor; a pipe that polls ready takes `_CHUNK_SIZE` bytes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data)
