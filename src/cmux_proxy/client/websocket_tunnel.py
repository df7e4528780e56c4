"""A tunnel inside a WebSocket as a pair of asyncio's streams, with half-closes (RFC 6455).

Bytes leave in masked frames, and come from the frames of the proxy, which a task reads. Does not
know how the WebSocket was asked for. Neighbours: `open_tunnel.py` asks for it,
`websocket/tunnel_reader.py` reads frames.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable
from typing import Final, cast

from cmux_proxy.net.stream import Data
from cmux_proxy.websocket.close_codes import NORMAL, is_orderly
from cmux_proxy.websocket.tunnel_frames import (
    BINARY,
    CLOSE,
    END_OF_HALF,
    PING,
    PONG,
    TEXT,
    close_payload,
    masked_frame,
)
from cmux_proxy.websocket.tunnel_reader import BROKEN, CLOSED, ENDED, PINGED, TunnelReader

_READ_SIZE: Final = 64 * 1024
# Seconds of silence before a ping, and those in which anything has to come in return.
_PING_INTERVAL: Final = 20.0
# Seconds in which the proxy sends its Close behind ours.
_CLOSE_TIMEOUT: Final = 10.0


class WebSocketWriter(asyncio.StreamWriter):
    """Writes to a tunnel; its `transport` is that of the connection beneath."""

    def __init__(self, beneath: asyncio.StreamWriter, has_half_close: bool) -> None:
        protocol = cast(asyncio.StreamReaderProtocol, beneath.transport.get_protocol())
        self._running_loop = asyncio.get_running_loop()
        super().__init__(beneath.transport, protocol, None, self._running_loop)
        self._beneath = beneath
        self._has_half_close = has_half_close
        self._has_ended = False
        self._has_closed = False
        self.receiving: asyncio.Task[None] | None = None

    def write(self, data: Data) -> None:
        """Send bytes as one message."""
        if data and not self._has_ended:
            self.send(BINARY, bytes(data))

    def writelines(self, data: Iterable[Data]) -> None:
        """Send several pieces of bytes as one message."""
        self.write(b"".join(data))

    def can_write_eof(self) -> bool:
        """Return True: a message or a Close ends our half."""
        return True

    def write_eof(self) -> None:
        """End our half."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._has_half_close:
            self.send(TEXT, END_OF_HALF)
        else:
            self.send_close()

    def close(self) -> None:
        """Send a Close, and close the connection once that of the proxy has come, or soon."""
        self.send_close()
        if self.receiving is None or self.receiving.done():
            self._beneath.close()
        else:
            timer = self._running_loop.call_later(_CLOSE_TIMEOUT, self._beneath.transport.abort)
            self.receiving.add_done_callback(lambda _: timer.cancel())

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a frame, with a key that nobody can foretell (section 10.3)."""
        self._beneath.write(masked_frame(opcode, payload, os.urandom(4)))

    def send_close(self) -> None:
        """Send a Close once."""
        if not self._has_closed:
            self._has_ended = self._has_closed = True
            self.send(CLOSE, close_payload(NORMAL))


class _Receiver(asyncio.ReadTransport):
    """Fills the reader of a tunnel from the frames of the proxy, while it is not paused."""

    def __init__(self, beneath: asyncio.StreamReader, writer: WebSocketWriter, half: bool) -> None:
        super().__init__()
        self.reader = asyncio.StreamReader(limit=_READ_SIZE)
        self.reader.set_transport(self)
        self._beneath = beneath
        self._writer = writer
        self._frames = TunnelReader(False, half)
        self._is_open = asyncio.Event()
        self._is_open.set()

    def pause_reading(self) -> None:
        """Leave what arrives with the kernel: the reader is full."""
        self._is_open.clear()

    def resume_reading(self) -> None:
        """Read again."""
        self._is_open.set()

    async def run(self) -> None:
        """Read until the tunnel has ended; the reader gets the end, or the failure."""
        try:
            while not self._frames.news & (CLOSED | BROKEN):
                await self._is_open.wait()
                self._take(await self._read())
            self._finish()
        except OSError as error:
            self._fail(error)

    async def _read(self) -> bytes:
        """Return what comes next; send a ping into a silence, and raise OSError behind another."""
        for is_last in (False, True):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PING_INTERVAL):
                    return await self._beneath.read(_READ_SIZE)
            if not is_last:
                self._writer.send(PING, b"")
        raise ConnectionResetError("the proxy does not answer any more")

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError("the proxy has ended the tunnel without a Close frame")
        payload = self._frames.feed(data)
        if payload:
            self.reader.feed_data(payload)
        if self._frames.news & PINGED:
            self._frames.news &= ~PINGED
            self._writer.send(PONG, self._frames.ping)
        if self._frames.news & ENDED:
            self.reader.feed_eof()

    def _finish(self) -> None:
        """Take the Close of the proxy: the end, unless its code is that of a failure."""
        frames = self._frames
        self._writer.send_close()
        self._writer.transport.close()
        if frames.news & CLOSED and is_orderly(frames.code):
            self.reader.feed_eof()
        else:
            reason = frames.reason or f"code {frames.code}"
            self._fail(ConnectionResetError(f"the tunnel was closed: {reason}"))

    def _fail(self, error: OSError) -> None:
        if not self.reader.at_eof():
            self.reader.set_exception(error)
        self._writer.transport.abort()


def join_websocket(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, has_half_close: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams of the tunnel inside a WebSocket that is open.

    `has_half_close` says that the subprotocol `opening.HALF_CLOSE` was chosen.
    """
    outer = WebSocketWriter(writer, has_half_close)
    receiver = _Receiver(reader, outer, has_half_close)
    outer.receiving = asyncio.get_running_loop().create_task(receiver.run())
    return receiver.reader, outer
