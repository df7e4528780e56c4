"""A client that sends raw HTTP/2 frames over a real socket, and reads those of the proxy."""

import asyncio
from typing import Self

from cmux_proxy.http2.frame_types import GOAWAY, PREFACE, RST_STREAM, SETTINGS
from tests.helpers.http2_frames import Frame, frame, read_frames
from tests.helpers.timing import soon
from tests.helpers.wire import Wire

GREETING = PREFACE + frame(SETTINGS, 0, 0)


class Http2Wire:
    """A connection; `received` are the frames that have come."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.received: list[Frame] = []
        self._rest = b""
        self._taken = 0

    @classmethod
    async def to(cls, port: int) -> Self:
        """Connect to a port of the loopback; nothing is sent."""
        return cls(await Wire.to("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    async def send(self, *pieces: bytes) -> None:
        """Send each piece in a segment of its own, and let the proxy read it."""
        for piece in pieces:
            await self.wire.send(piece)
            await asyncio.sleep(0)

    async def frame(self) -> Frame:
        """Return the next frame."""
        while self._taken == len(self.received):
            assert await self._read(), "the connection has ended"
        self._taken += 1
        return self.received[self._taken - 1]

    async def until(self, kind: int) -> Frame:
        """Skip frames until one of this kind."""
        while (found := await self.frame()).kind != kind:
            pass
        return found

    async def reset(self) -> tuple[int, int]:
        """Return stream and code of the next RST_STREAM; a GOAWAY fails."""
        while (found := await self.frame()).kind != RST_STREAM:
            assert found.kind != GOAWAY, found
        return found.stream_id, int.from_bytes(found.payload, "big")

    async def goaway(self) -> tuple[int, int, str]:
        """Return last stream, code and reason of the next GOAWAY."""
        payload = (await self.until(GOAWAY)).payload
        last, code = (int.from_bytes(payload[at : at + 4], "big") for at in (0, 4))
        return last, code, payload[8:].decode("ascii")

    async def end(self) -> list[Frame]:
        """Read to the end of the connection, which is no reset; return the frames before it."""
        while await self._read():
            pass
        assert self._rest == b"", "a frame is cut short"
        rest = self.received[self._taken :]
        self._taken = len(self.received)
        return rest

    async def ping(self) -> list[Frame]:
        """Let the proxy act on everything that was sent; return the frames before its answer."""
        start = self._taken
        await self.send(frame(6, 0, 0, b"settled?"))
        while (found := await self.frame()).kind != 6 or found.payload != b"settled?":
            assert found.kind != GOAWAY, found
        return self.received[start : self._taken - 1]

    async def _read(self) -> bool:
        data = await soon(self.wire.receive())
        self._rest += data
        whole = 0
        while len(self._rest) - whole >= 9:
            end = whole + 9 + int.from_bytes(self._rest[whole : whole + 3], "big")
            if end > len(self._rest):
                break
            whole = end
        self.received += read_frames(self._rest[:whole])
        self._rest = self._rest[whole:]
        return data != b""
