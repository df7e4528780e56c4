"""What the kernel holds of a connection: bytes that were not read, not sent or not acknowledged.

Knows file descriptors and nothing of what the bytes mean.
"""

import errno
import fcntl
import os
import socket
import struct
import sys
import termios
from typing import Final

from cmux_proxy.net.asyncio_backend import is_encrypted, raw_socket
from cmux_proxy.net.stream import Stream

# SIOCOUTQNSD of <linux/sockios.h>
_NOT_SENT: Final = 0x894B
# SO_MEMINFO of <asm-generic/socket.h>; of nine numbers of <linux/sock_diag.h>, how much is on its
# way, how much may be, and how much waits.
_MEMORY_INFO: Final = 55
_MEMORY: Final = struct.Struct("=8xII4xI12x")


def count_unread(stream: Stream) -> int:
    """Return how many bytes of the peer were not read: those in the kernel, and of TLS here."""
    return _ask_kernel(stream, termios.FIONREAD) + int(stream.get_extra_info("unread_size", 0))


def count_unsent(stream: Stream) -> int:
    """Return how many bytes the peer has not taken; those in the kernel are counted on Linux."""
    return stream.get_write_buffer_size() + _ask_kernel(stream, termios.TIOCOUTQ)


def is_behind(stream: Stream) -> bool:
    """Return whether the kernel could not send everything: the peer has no room (Linux)."""
    return _ask_kernel(stream, _NOT_SENT) > 0


def send_room(stream: Stream) -> int:
    """Return how many bytes the kernel would take now; 0 where that is not known."""
    sock = raw_socket(stream)
    if sock is None:
        return 0
    try:
        on_the_way, limit, waiting = _MEMORY.unpack(
            sock.getsockopt(socket.SOL_SOCKET, _MEMORY_INFO, _MEMORY.size)
        )
    except (OSError, struct.error):
        return 0
    return int(limit - max(on_the_way, waiting))


def was_reset(stream: Stream) -> bool:
    """Return whether the connection was lost before the peer's end; true at the first call only."""
    sock = raw_socket(stream)
    if sock is None:
        return False
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in (0, errno.EPIPE)


def read_rest(stream: Stream, max_bytes: int) -> bytes:
    """Return what came before a connection broke; b"" at the end, and where nothing can be read."""
    sock = raw_socket(stream)
    if sock is None or is_encrypted(stream):
        return b""
    try:
        return os.read(sock.fileno(), max_bytes)
    except OSError:
        return b""


def _ask_kernel(stream: Stream, request: int) -> int:
    sock = raw_socket(stream)
    if sock is None:
        return 0
    try:
        count = fcntl.ioctl(sock.fileno(), request, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(count, sys.byteorder, signed=True)
