"""How much is read at a time, which is what a connection may hold of what its peer does not take.

asyncio's transports are told; uvloop reads up to 256,000 bytes into a buffer of its own, unless the
protocol brings one.
"""

import asyncio
from typing import Final, cast

_UVLOOP_READS: Final = 256_000


class ReadSize:
    """Has the connections of one event loop read at most `most` bytes at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        self.most = most
        self.is_told = isinstance(loop, asyncio.BaseEventLoop)
        is_small = not self.is_told and most < _UVLOOP_READS
        # Shared, since nothing stays in it between two callbacks.
        self._piece = memoryview(bytearray(most)) if is_small else None

    def begin(self, transport: asyncio.Transport, protocol: object) -> None:
        """Bound what a new connection reads, whose protocol is `protocol`."""
        if self.is_told:
            transport.max_size = self.most  # type: ignore[attr-defined]
        elif self._piece is not None:
            self.install(transport, protocol)

    def install(self, transport: asyncio.Transport, protocol: object) -> None:
        """Make `protocol` the transport's, with that bound."""
        if self._piece is not None:
            protocol = BufferedAdapter(self._piece, cast(asyncio.Protocol, protocol))
        transport.set_protocol(cast(asyncio.BaseProtocol, protocol))


class BufferedAdapter(asyncio.BufferedProtocol):
    """Reads in its own way for the protocol behind it, which is told all else as ever."""

    def __init__(self, piece: memoryview, protocol: asyncio.Protocol) -> None:
        self._piece = piece
        self._protocol = protocol

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read a piece."""
        return self._piece

    def buffer_updated(self, count: int) -> None:
        """Pass the piece on as if it had been read as ever."""
        self._protocol.data_received(bytes(self._piece[:count]))

    def eof_received(self) -> bool | None:
        """Tell the protocol."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the protocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol."""
        self._protocol.resume_writing()
