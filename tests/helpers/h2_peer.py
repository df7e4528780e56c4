"""A client that speaks HTTP/2 with the library h2, over a real socket."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.helpers.timing import soon
from tests.helpers.wire import Wire

Fields = Sequence[tuple[str, str]]


def fields(port: int, method: str = "GET", path: str = "/", *more: tuple[str, str]) -> Fields:
    """Return the fields of a request to a port."""
    pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a")]
    return [*pseudo, ("x-cmux-port-internal", str(port)), *more]


class Response:
    """What has come of a response."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.reset: int | None = None
        self.is_complete = False

    @property
    def status(self) -> str:
        """The status of the last head."""
        return self.heads[-1][":status"]


class H2Peer:
    """A connection, and its responses by stream."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.responses: dict[int, Response] = {}
        self.goaways: list[tuple[int, int]] = []
        self.has_ended = False
        # Whether the client takes body bytes, and gives room for more.
        self.reads = True

    @classmethod
    async def to(cls, port: int) -> Self:
        """Connect to a port of the loopback, and send the preface."""
        peer = cls(await Wire.to("127.0.0.1", port))
        peer.h2.initiate_connection()
        await peer.flush()
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    async def flush(self) -> None:
        """Send the frames that were made."""
        data = self.h2.data_to_send()
        if data:
            await self.wire.send(data)

    async def ask(self, request: Fields, is_last: bool = True) -> int:
        """Send the head of a request; return its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.responses[stream] = Response()
        self.h2.send_headers(stream, request, end_stream=is_last)
        await self.flush()
        return stream

    async def send(self, stream: int, data: bytes, is_last: bool = False) -> None:
        """Send body bytes that fit into the windows."""
        self.h2.send_data(stream, data, end_stream=is_last)
        await self.flush()

    async def reset(self, stream: int) -> None:
        """Reset a stream."""
        self.h2.reset_stream(stream)
        await self.flush()

    async def complete(self, stream: int) -> Response:
        """Wait for the end of a response, or of its stream."""
        response = self.responses[stream]
        while not (response.is_complete or response.reset is not None):
            await self.step()
        return response

    async def body(self, stream: int, size: int) -> bytes:
        """Wait for so many bytes of a body."""
        while len(self.responses[stream].body) < size:
            await self.step()
        return self.responses[stream].body

    async def head(self, stream: int) -> dict[str, str]:
        """Wait for a head."""
        while not self.responses[stream].heads:
            await self.step()
        return self.responses[stream].heads[-1]

    async def step(self) -> None:
        """Read once; fail at the end of the connection."""
        data = await soon(self.wire.receive())
        assert data, "the connection has ended"
        self._take(data)
        await self.flush()

    async def until_end(self) -> None:
        """Read until the connection ends."""
        while data := await soon(self.wire.receive()):
            self._take(data)

    def _take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                self.goaways.append((event.last_stream_id or 0, int(event.error_code or 0)))
                continue
            stream: Any = getattr(event, "stream_id", None)
            if stream in self.responses:
                self._note(stream, event)

    def _note(self, stream: int, event: h2.events.Event) -> None:
        response = self.responses[stream]
        if isinstance(event, h2.events.ResponseReceived | h2.events.InformationalResponseReceived):
            response.heads.append(_as_text(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            response.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.TrailersReceived):
            response.trailers = _as_text(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            response.reset = int(event.error_code)
        elif isinstance(event, h2.events.StreamEnded):
            response.is_complete = True


def _as_text(fields: Iterable[Sequence[str | bytes]]) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields}


async def settle(peer: H2Peer) -> None:
    """Let the proxy act on everything that was sent: it answers a PING in order."""
    peer.h2.ping(b"settled!")
    await peer.flush()
    await peer.step()
    await asyncio.sleep(0)
