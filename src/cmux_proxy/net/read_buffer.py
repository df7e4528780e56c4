"""How much is read at a time: as much as a connection may hold for a peer that does not read.

asyncio's transports and native streams have an attribute for it. uvloop reads up to 256,000 bytes
into its buffer, unless the protocol brings one. Knows nothing of what the bytes mean.
"""

import asyncio
from typing import Final, cast

from cmux_proxy.net.stream import Stream, StreamOwner

_UVLOOP_READ_SIZE: Final = 256_000


class ReadSize:
    """Limits the connections of one proxy to reads of at most `max_bytes`.

    `has_attribute` says that a stream has `max_size` for it.
    """

    def __init__(self, has_attribute: bool, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.has_attribute = has_attribute
        is_small = not has_attribute and max_bytes < _UVLOOP_READ_SIZE
        # Shared, because nothing stays in it between two callbacks.
        self._buffer = memoryview(bytearray(max_bytes)) if is_small else None

    def limit(self, stream: Stream, owner: StreamOwner) -> None:
        """Limit the reads of a new stream, whose owner is `owner`."""
        if self.has_attribute:
            stream.max_size = self.max_bytes  # type: ignore[attr-defined]
        elif self._buffer is not None:
            self.install(stream, owner)

    def install(self, stream: Stream, owner: StreamOwner) -> None:
        """Make `owner` the owner of a stream that is limited already."""
        if self._buffer is None:
            stream.set_protocol(owner)
        else:
            BufferedAdapter(self._buffer, owner).attach(stream)


class BufferedAdapter(asyncio.BufferedProtocol):
    """Reads into a buffer of ours for an owner that wants bytes; passes all other events on."""

    def __init__(self, buffer: memoryview, owner: StreamOwner) -> None:
        self._buffer = buffer
        self._owner = owner

    def attach(self, stream: Stream) -> None:
        """Make a stream read into the buffer: both loops recognize a BufferedProtocol."""
        stream.set_protocol(cast(StreamOwner, self))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read."""
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        """Pass the bytes on."""
        self._owner.data_received(bytes(self._buffer[:count]))

    def data_received(self, data: bytes) -> None:
        """Pass the bytes of a stream on that has no use for a buffer."""
        self._owner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the end on."""
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the loss on."""
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass back-pressure on."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Pass the end of back-pressure on."""
        self._owner.resume_writing()
