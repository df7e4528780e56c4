"""The proxy's own lines on a standard stream: written without waiting for whoever reads it.

A pipe that nobody reads is full at some time, and a terminal may be halted; a write that waits
there would hold the event loop, and the end of the process with it. Lines that find no room wait
here, and those for which there is no room here either are counted and lost. There is no thread, so
that the supervisor may fork. The access log has a thread, `log_writing`: its lines are many.
"""

import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable
from functools import partial
from typing import Final, TextIO

# So many bytes wait. POSIX writes no more than 512 at once in any case; Linux 4096.
MAX_WAITING: Final = 65536
_AT_ONCE: Final = getattr(select, "PIPE_BUF", 512)

# Writes some bytes and returns how many; raises BlockingIOError where none are taken now.
Write = Callable[[bytes], int]


class LineStream:
    """Takes texts in the place of a text stream; `write` never waits and never fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting = b""
        self._lost = 0
        self._owner = os.getpid()
        self._descriptor, self._write = _unblocked(stream)

    def write(self, text: str) -> int:
        """Write a text, or keep it for the next time; return its length."""
        if self._descriptor < 0:
            # A stream of the program's own, such as one in memory.
            return self._stream.write(text)
        if self._owner != os.getpid():
            # What waits in the process that was forked is written there.
            self._owner, self._waiting, self._lost = os.getpid(), b"", 0
        self._send()
        data = text.encode("utf-8", "backslashreplace")
        if self._lost and not self._waiting:
            data = b"cmux-proxy: lines lost, since nobody reads them: %d\n" % self._lost + data
            self._lost = 0
        if len(self._waiting) + len(data) <= MAX_WAITING:
            self._waiting += data
            self._send()
        else:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Write what waits, if somebody takes it."""
        if self._descriptor < 0:
            self._stream.flush()
        else:
            self._send()

    def _send(self) -> None:
        """Write as much of what waits as is taken at once."""
        try:
            while self._waiting:
                written = self._write(self._waiting[:_AT_ONCE])
                self._waiting = self._waiting[written:]
        except BlockingIOError:
            return
        except OSError:
            # Nobody can read it any more, or the disk is full.
            self._waiting = b""


def _unblocked(stream: TextIO) -> tuple[int, Write]:
    """Return a descriptor for a stream, -1 where it has none, and what writes to it at once.

    To make the stream's own descriptor non-blocking would make it so for everybody who has it, the
    shell above all. Opening it again makes one that shares nothing but what is written.
    """
    try:
        stream.flush()
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return -1, len
    if stat.S_ISSOCK(mode):
        return descriptor, partial(_send_at_once, descriptor)
    if not stat.S_ISREG(mode):
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            return descriptor, partial(os.write, descriptor)
    return descriptor, partial(_write_if_ready, descriptor)


def _send_at_once(descriptor: int, data: bytes) -> int:
    sock = socket.socket(fileno=descriptor)
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    finally:
        sock.detach()


def _write_if_ready(descriptor: int, data: bytes) -> int:
    """Write where it cannot be opened again; a pipe that is ready takes `_AT_ONCE` bytes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data)
