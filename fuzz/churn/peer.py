"""The peer of a stream: a plain socket, and how many bytes went through it."""

import contextlib
import enum
import socket
import struct
from typing import Final

from fuzz.churn.content import content

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
# Used again and again: with AddressSanitizer, a new one costs more than all else.
_BUFFER: Final = memoryview(bytearray(65_536))


class End(enum.Enum):
    """How a peer has ended its half, or the connection."""

    NONE = ""
    FIN = "fin"
    CLOSE = "close"
    RESET = "reset"


class Peer:
    """One end of connection `key`; `early` bytes are sent at once."""

    def __init__(self, sock: socket.socket, key: int, early: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.is_tcp = sock.family == socket.AF_INET
        self.key = key
        self.sent = 0
        self.received = 0
        self.end = End.NONE
        self.has_urgent = False
        # It does not read.
        self.is_held = False
        # No more bytes will arrive.
        self.is_over = False
        self.send(early)

    @property
    def has_left(self) -> bool:
        """Whether nobody reads at this end."""
        return self.end in (End.CLOSE, End.RESET)

    def send(self, size: int) -> None:
        """Send as much of that as the kernel takes."""
        with contextlib.suppress(OSError):
            self.sent += self.sock.send(content(2 * self.key, self.sent, size))

    def send_urgent(self) -> None:
        """Send an urgent byte, once: the next one would make an ordinary byte of the first."""
        if self.is_tcp and not self.has_urgent:
            self.has_urgent = True
            with contextlib.suppress(OSError):
                self.sock.send(b"!", socket.MSG_OOB)

    def leave(self, end: End) -> None:
        """End this half, or the connection; only TCP has a reset."""
        self.end = end if self.is_tcp or end is not End.RESET else End.CLOSE
        if self.end is End.FIN:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
            return
        if self.end is End.RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.sock.close()

    def drain(self) -> str:
        """Read what has arrived; return what is wrong with it, or an empty text."""
        while not (self.is_held or self.is_over or self.has_left):
            try:
                count = self.sock.recv_into(_BUFFER)
            except BlockingIOError:
                break
            except OSError:
                count = 0
            self.is_over = not count
            if _BUFFER[:count] != content(2 * self.key + 1, self.received, count):
                return f"the peer receives bytes of another at {self.received}"
            self.received += count
        return ""
