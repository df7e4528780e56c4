"""Large transfers: the kernel moves bytes from socket to socket that nobody reads on the way.

A connection that brings much reports to a `SpliceTransfer`. That reads 4 KiB for the owner behind
it, as usual, and has the kernel move what has come after them, uncopied and through a pipe (Linux's
`splice`). So the owner sees ends, losses and the last byte of a body.
Towards a sink that is full, no more is read at a time than it has room for: what it does not take
stays in memory for as long as its peer does not read.
Native streams need no such reads: `_native_splice.pyx` moves their bytes.
Knows nothing of messages: the caller passes an object that says how many bytes are left.
"""

import errno
import os
import sys
from collections.abc import Callable
from typing import Final, Protocol, cast

from cmux_proxy.net.asyncio_backend import may_splice, raw_fd, raw_socket
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.read_buffer import BufferedAdapter
from cmux_proxy.net.socket_options import disable_pacing
from cmux_proxy.net.socket_queues import is_behind, send_room
from cmux_proxy.net.stream import Stream, StreamOwner

# A read of at least this many bytes starts a large transfer, and a smaller one where the sink is
# full. Reads below the second number cost nothing but a comparison.
LARGE_READ: Final = 131072
MIN_READ: Final = 32 * 1024
# A body of which less is left is not worth the change.
MIN_LEFT: Final = 512 * 1024
PROBE_SIZE: Final = 4096
# Together with what is read for the owner, at most 256 KiB are held.
MAX_MOVE: Final = 256 * 1024 - PROBE_SIZE
# Where less comes at a time, reading and writing cost as little.
MIN_MOVE: Final = 32 * 1024
# How much is read at a time towards a full sink; less than a read that starts a transfer.
LIMITED_SIZE: Final = MIN_READ - PROBE_SIZE

# What a kernel, or a sandbox that stands in for one, reports when it cannot move bytes.
_UNABLE: Final = (errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)

CountMoved = Callable[[int], None]


class Remaining(Protocol):
    """A body of a known length; moving bytes makes `remaining` smaller."""

    remaining: int


class Pipe(Protocol):
    """The pipe of one proxy: all connections share it, because it is empty between calls.

    `LimitedReads` share its `limited_buffer`. `is_able` says whether the kernel can move bytes, as
    far as is known. `_native_splice.pyx` has the pipe for native streams.
    """

    is_able: bool
    limited_buffer: memoryview

    def start(
        self, source: Stream, sink: Stream, body: Remaining | None, count_moved: CountMoved
    ) -> None:
        """Move what follows from source to sink, until too little comes or the body ends."""

    def is_open(self) -> bool:
        """Return whether the pipe exists: from the first transfer to `close`."""

    def close(self) -> None:
        """Close the pipe; the next large transfer opens another."""


class SplicePipe:
    """The pipe for streams of asyncio and uvloop; a `SpliceTransfer` reads into `probe_buffer`."""

    def __init__(self, is_wanted: bool = True) -> None:
        self.probe_buffer = memoryview(bytearray(PROBE_SIZE))
        self.limited_buffer = memoryview(bytearray(LIMITED_SIZE))
        self.is_able = is_wanted and sys.platform == "linux"
        self._ends: tuple[int, int] | None = None

    def start(
        self, source: Stream, sink: Stream, body: Remaining | None, count_moved: CountMoved
    ) -> None:
        """Read little at a time from the source, and move what has come after it."""
        SpliceTransfer(self, source, sink, body, count_moved).attach(source)

    def is_open(self) -> bool:
        """Return whether the pipe exists: from the first transfer to `close`."""
        return self._ends is not None

    def move(self, source: int, sink: int, max_bytes: int) -> tuple[int, bytes]:
        """Move bytes from socket to socket without waiting for either.

        Return how many have left the source, and those of them that the sink did not take. Raise
        OSError where reading the source would.
        """
        if sys.platform != "linux" or not self._open() or self._ends is None:
            return 0, b""
        reader, writer = self._ends
        flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
        try:
            taken = os.splice(source, writer, max_bytes, flags=flags)
        except BlockingIOError:
            return 0, b""
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            self.is_able = False
            self.close()
            return 0, b""
        if not taken:
            # The end; the next read reports it.
            return 0, b""
        try:
            return taken, self._push(reader, sink, taken)
        except BaseException:
            # Bytes that are left in the pipe must never reach another connection.
            self.close()
            raise

    def _push(self, reader: int, sink: int, count: int) -> bytes:
        """Empty the pipe into the sink; return what it does not take."""
        if sys.platform == "linux":
            flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
            try:
                count -= os.splice(reader, sink, count, flags=flags)
            except OSError:
                # No room, or a broken connection: the write of the remaining bytes shows which.
                pass
        return os.read(reader, count) if count else b""

    def _open(self) -> bool:
        if self._ends is None and self.is_able and sys.platform == "linux":
            import fcntl

            try:
                self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                # 16 slots, the default, hold too few packets for it to be worthwhile.
                fcntl.fcntl(self._ends[1], fcntl.F_SETPIPE_SZ, 256 * 1024)
            except OSError:
                # No descriptor, or no pipe of that size: a smaller pipe works too.
                pass
        return self._ends is not None

    def close(self) -> None:
        """Close the pipe; the next large transfer opens another."""
        if self._ends is not None:
            for end in self._ends:
                os.close(end)
            self._ends = None


class SpliceTransfer(BufferedAdapter):
    """What a connection reports to during a large transfer, in front of its owner."""

    def __init__(
        self,
        pipe: SplicePipe,
        source: Stream,
        sink: Stream,
        body: Remaining | None,
        count_moved: CountMoved,
    ) -> None:
        super().__init__(pipe.probe_buffer, cast(StreamOwner, source.get_protocol()))
        self._pipe = pipe
        self._source = source
        self._sink = sink
        self._body = body
        self._count_moved = count_moved

    def buffer_updated(self, count: int) -> None:
        """Pass the bytes on, and move what has come after them."""
        super().buffer_updated(count)
        if (count < PROBE_SIZE or not self._move()) and self._source.get_protocol() is self:
            self._source.set_protocol(self._owner)

    def _move(self) -> bool:
        """Move what has come except the last byte of a body; return whether it is worthwhile."""
        body = self._body
        room = MAX_MOVE if body is None else min(MAX_MOVE, body.remaining - 1)
        source = self._source
        sink = self._sink
        if room < MIN_MOVE or source.is_closing() or sink.is_closing():
            return False
        if sink.get_write_buffer_size():
            # Nothing may overtake what waits. The source is not read again before it has left.
            return True
        if is_full(sink):
            room = min(room, max(MIN_MOVE, send_room(sink)))
        taken, untaken = self._pipe.move(raw_fd(source), raw_fd(sink), room)
        self._count_moved(taken)
        if body is not None:
            body.remaining -= taken
        if untaken:
            sink.write(untaken)
        return taken >= MIN_MOVE


class LimitedReads(BufferedAdapter):
    """What a connection reports to while its sink is full and the kernel cannot move its bytes."""

    def __init__(self, pipe: Pipe, source: Stream, sink: Stream) -> None:
        super().__init__(pipe.limited_buffer, cast(StreamOwner, source.get_protocol()))
        self._source = source
        self._sink = sink

    def buffer_updated(self, count: int) -> None:
        """Pass on what has come; read as usual once the sink has room."""
        super().buffer_updated(count)
        if self._source.get_protocol() is self and not is_full(self._sink):
            self._source.set_protocol(self._owner)


def start_transfer(
    pipe: Pipe,
    source: Stream,
    sink: Stream,
    body: Remaining | None,
    count_moved: CountMoved,
    count: int,
) -> None:
    """Let the kernel move what follows from source to sink, unless too little does.

    The source's owner calls it when it has written `count` bytes, at least `MIN_READ`, to the sink.
    Without a body, all that comes is for the sink. `count_moved` is called with the number of bytes
    that bypass the owner. Where the kernel cannot move them, little is read towards a full sink.
    """
    is_large = body is None or body.remaining >= MIN_LEFT
    if not (is_large and pipe.is_able and may_splice(source) and may_splice(sink)):
        limit_reads(pipe, source, sink)
    elif count >= LARGE_READ or is_full(sink):
        # Whether a client of a wildcard address is on the loopback was not known before.
        sock = raw_socket(sink)
        if sock is not None:
            disable_pacing(sock, peer_of(sink))
        pipe.start(source, sink, body, count_moved)


def limit_reads(pipe: Pipe, source: Stream, sink: Stream) -> None:
    """Read little at a time while the sink is full, where the kernel cannot move what comes."""
    if pipe.is_able and may_splice(source) and is_full(sink):
        LimitedReads(pipe, source, sink).attach(source)


def is_full(sink: Stream) -> bool:
    """Return whether the kernel holds bytes that the peer has no room for; False if unknown."""
    return not sink.is_closing() and is_behind(sink)
