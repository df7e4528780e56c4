"""Large transfers: bytes that nobody looks at go from socket to socket within the kernel.

A connection that brings much gets a `SpliceTransfer` for its protocol. That reads a small piece as
ever, for the protocol behind it, and has the kernel move what has come besides, uncopied and
through a pipe (Linux's `splice`). So ends, losses and the last byte of a body are told as ever.
Towards a sink that is full, no more is read at a time than it has room for: what it does not take
stays in memory for as long as its peer does not read.
Both connections are plain TCP, but for clients of Unix sockets. Knows of HTTP only how much of a
body is left.
"""

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final, cast

from cmux_proxy.http1.body import Body, LengthBody, UntilCloseBody
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.read_buffer import BufferedAdapter
from cmux_proxy.net.socket_options import spare_pacing
from cmux_proxy.relay.disconnects import is_behind

# A read of so many bytes begins a large transfer; if the sink is full, so many do. Smaller ones
# cost nothing but this comparison.
LARGE_READ: Final = 131072
NOTED_READ: Final = 32 * 1024
# A body of which less is left is not worth the change.
LEAST_LEFT: Final = 512 * 1024
PIECE: Final = 4096
# With a piece on top, what is held stays within 256 KiB.
MOST: Final = 256 * 1024 - PIECE
# Where less comes at a time, reading and writing cost as little.
WORTHWHILE: Final = 32 * 1024
# So much is read at a time towards a sink that is full; it must not be noted again.
SIP: Final = NOTED_READ - PIECE

# <asm-generic/socket.h> and <linux/sock_diag.h>: of nine numbers, how much is on its way, how much
# may be, and how much waits.
_MEMORY_INFO: Final = 55
_MEMORY: Final = struct.Struct("=8xII4xI12x")

# What a kernel, or a sandbox that stands in for one, says when it cannot move bytes.
_UNABLE: Final = frozenset(
    [errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM]
)

Note = Callable[[int], None]


class SplicePipe:
    """The pipe of one event loop: since it is empty between calls, all connections share it.

    The same goes for `piece` and `sip`, into which a `SpliceTransfer` and a `SpliceReads` have
    their connections read.
    """

    def __init__(self, is_wanted: bool = True) -> None:
        self.piece = memoryview(bytearray(PIECE))
        self.sip = memoryview(bytearray(SIP))
        self.is_able = is_wanted and sys.platform == "linux"
        self._ends: tuple[int, int] | None = None

    def move(self, source: int, sink: int, most: int) -> tuple[int, bytes]:
        """Move bytes from socket to socket without waiting for either.

        Return how many have left the source, and those of them that the sink did not take. Raise
        OSError where reading the source would.
        """
        if sys.platform != "linux" or not self._open() or self._ends is None:
            return 0, b""
        reader, writer = self._ends
        flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
        try:
            taken = os.splice(source, writer, most, flags=flags)
        except BlockingIOError:
            return 0, b""
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            self.is_able = False
            self.close()
            return 0, b""
        if not taken:
            # The end; reading tells it.
            return 0, b""
        try:
            return taken, self._push(reader, sink, taken)
        except BaseException:
            # Whatever is left in the pipe must never reach another connection.
            self.close()
            raise

    def _push(self, reader: int, sink: int, count: int) -> bytes:
        """Empty the pipe into the sink; return what it does not take."""
        if sys.platform == "linux":
            flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
            try:
                count -= os.splice(reader, sink, count, flags=flags)
            except OSError:
                # No room, or a broken connection: writing the rest tells which.
                pass
        return os.read(reader, count) if count else b""

    def _open(self) -> bool:
        if self._ends is None and self.is_able and sys.platform == "linux":
            import fcntl

            try:
                self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                # 16 places, the default, hold too few packets for it to be worthwhile.
                fcntl.fcntl(self._ends[1], fcntl.F_SETPIPE_SZ, 256 * 1024)
            except OSError:
                # No descriptor, or no pipe of that size: what there is, if anything, has to do.
                pass
        return self._ends is not None

    def close(self) -> None:
        """Let go of the pipe; the next large transfer opens another."""
        if self._ends is not None:
            for end in self._ends:
                os.close(end)
            self._ends = None


class SpliceTransfer(BufferedAdapter):
    """What a connection reports to while much comes from it, instead of its own protocol."""

    def __init__(
        self,
        conduit: SplicePipe,
        source: asyncio.Transport,
        sink: asyncio.Transport,
        body: LengthBody | None,
        note: Note,
    ) -> None:
        super().__init__(conduit.piece, cast(asyncio.Protocol, source.get_protocol()))
        self._conduit = conduit
        self._source = source
        self._sink = sink
        self._body = body
        self._note = note

    def buffer_updated(self, count: int) -> None:
        """Pass the piece on, and move what has come besides."""
        super().buffer_updated(count)
        if (count < PIECE or not self._move()) and self._source.get_protocol() is self:
            self._source.set_protocol(self._protocol)

    def _move(self) -> bool:
        """Move what has come, but for the last byte of a body; return whether it is worthwhile."""
        body = self._body
        room = MOST if body is None else min(MOST, body.remaining - 1)
        source = self._source
        sink = self._sink
        if room < WORTHWHILE or source.is_closing() or sink.is_closing():
            return False
        if sink.get_write_buffer_size():
            # Nothing may overtake what waits. The source is not read again before it has left.
            return True
        if is_full(sink):
            room = min(room, max(WORTHWHILE, room_of(sink)))
        taken, rest = self._conduit.move(descriptor(source), descriptor(sink), room)
        self._note(taken)
        if body is not None:
            body.remaining -= taken
        if rest:
            sink.write(rest)
        return taken >= WORTHWHILE


class SpliceReads(BufferedAdapter):
    """What a connection reports to while its sink is full and the kernel cannot move its bytes."""

    def __init__(
        self, conduit: SplicePipe, source: asyncio.Transport, sink: asyncio.Transport
    ) -> None:
        super().__init__(conduit.sip, cast(asyncio.Protocol, source.get_protocol()))
        self._source = source
        self._sink = sink

    def buffer_updated(self, count: int) -> None:
        """Pass on what has come; read as ever once the sink has room."""
        super().buffer_updated(count)
        if self._source.get_protocol() is self and not is_full(self._sink):
            self._source.set_protocol(self._protocol)


def begin(
    conduit: SplicePipe,
    source: asyncio.Transport,
    sink: asyncio.Transport,
    body: Body | None,
    note: Note,
    count: int,
) -> None:
    """Let the kernel move what follows from source to sink, unless too little does.

    Called by the source's protocol when it has written `count` bytes, at least `NOTED_READ`, to the
    sink. Without a body, everything that comes is for the sink. `note` is told how many bytes have
    moved without it. Where the kernel cannot move them and the sink is full, little is read at a
    time.
    """
    length = body if isinstance(body, LengthBody) else None
    if length is None:
        is_long = body is None or isinstance(body, UntilCloseBody)
    else:
        is_long = length.remaining >= LEAST_LEFT
    if not is_long:
        sip(conduit, source, sink)
    elif conduit.is_able and descriptor(source) >= 0 and descriptor(sink) >= 0:
        if count < LARGE_READ and not is_full(sink):
            return
        # A client of a wildcard address is not known to be on the loopback before.
        spare_pacing(sink.get_extra_info("socket"), peer_of(sink))
        source.set_protocol(SpliceTransfer(conduit, source, sink, length, note))


def sip(conduit: SplicePipe, source: asyncio.Transport, sink: asyncio.Transport) -> None:
    """Have little read at a time while the sink is full; the kernel cannot move what comes."""
    if conduit.is_able and descriptor(source) >= 0 and is_full(sink):
        source.set_protocol(SpliceReads(conduit, source, sink))


def is_full(sink: asyncio.Transport) -> bool:
    """Return whether bytes wait in the kernel for a peer that is behind; False where none tells."""
    return not sink.is_closing() and is_behind(sink)


def room_of(sink: asyncio.Transport) -> int:
    """Return how many bytes the kernel would take now, as far as that is known."""
    sock = sink.get_extra_info("socket")
    try:
        on_the_way, most, waiting = _MEMORY.unpack(
            sock.getsockopt(socket.SOL_SOCKET, _MEMORY_INFO, _MEMORY.size)
        )
    except (OSError, struct.error):
        return 0
    return int(most - max(on_the_way, waiting))


def descriptor(transport: asyncio.Transport) -> int:
    """Return the descriptor of a connection, or -1 where it is closed or closing."""
    if transport.is_closing():
        return -1
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else cast(int, sock.fileno())
