"""An upstream that speaks HTTP/2 with the library h2, over a real socket; the test drives it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.helpers.timing import soon
from tests.helpers.wire import Wire

Fields = Sequence[tuple[str, str]]
OK: Fields = [(":status", "200")]
GRPC_OK: Fields = [(":status", "200"), ("content-type", "application/grpc")]


class Request:
    """What has come of a request."""

    def __init__(self, stream: int, fields: dict[str, str]) -> None:
        self.stream = stream
        self.fields = fields
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.reset: int | None = None
        self.is_complete = False


class H2Origin:
    """One connection to the upstream, and its requests by stream."""

    def __init__(self, wire: Wire, max_streams: int | None = None) -> None:
        self.wire = wire
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        if max_streams is not None:
            code = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
            self.h2.local_settings = h2.settings.Settings(
                client=False, initial_values={code: max_streams}
            )
        self.requests: dict[int, Request] = {}
        self.goaways: list[int] = []
        self.has_ended = False
        # Whether it gives room for more body bytes.
        self.reads = True
        self._unread: list[int] = []

    async def open(self) -> None:
        """Send the preface of a server."""
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        """Send the frames that were made."""
        data = self.h2.data_to_send()
        if data:
            await self.wire.send(data)

    async def request(self) -> Request:
        """Return the next request, once its head has come."""
        while not self._unread:
            await self.step()
        return self.requests[self._unread.pop(0)]

    async def whole_request(self) -> Request:
        """Return the next request, once it is complete."""
        request = await self.request()
        while not request.is_complete:
            await self.step()
        return request

    async def respond(
        self, request: Request, head: Fields = OK, body: bytes = b"", trailers: Fields = ()
    ) -> None:
        """Send a response that fits into the windows."""
        is_bare = not body and not trailers
        self.h2.send_headers(request.stream, head, end_stream=is_bare)
        if body:
            self.h2.send_data(request.stream, body, end_stream=not trailers)
        if trailers:
            self.h2.send_headers(request.stream, trailers, end_stream=True)
        await self.flush()

    async def until_reset(self, request: Request) -> int:
        """Wait until a stream is reset; return the code."""
        while request.reset is None:
            await self.step()
        return request.reset

    async def step(self) -> None:
        """Read once; fail at the end of the connection."""
        data = await soon(self.wire.receive())
        assert data, "the connection has ended"
        self.take(data)
        await self.flush()

    async def until_end(self) -> None:
        """Read until the connection ends."""
        while data := await soon(self.wire.receive()):
            self.take(data)

    async def serve(self) -> None:
        """Read for as long as there is something."""
        while data := await self.wire.receive():
            self.take(data)
            await self.flush()

    def take(self, data: bytes) -> None:
        """Act on bytes."""
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                self.goaways.append(int(event.error_code or 0))
            elif isinstance(event, h2.events.RequestReceived):
                stream: Any = event.stream_id
                fields = {str(name): str(value) for name, value in event.headers}
                self.requests[stream] = Request(stream, fields)
                self._unread.append(stream)
            else:
                self._note(event)

    def _note(self, event: h2.events.Event) -> None:
        request = self.requests.get(getattr(event, "stream_id", 0))
        if request is None:
            return
        if isinstance(event, h2.events.DataReceived):
            request.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, request.stream)
        elif isinstance(event, h2.events.TrailersReceived):
            request.trailers = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, h2.events.StreamReset):
            request.reset = int(event.error_code)
        elif isinstance(event, h2.events.StreamEnded):
            request.is_complete = True


def aside(work: Any) -> asyncio.Task[Any]:
    """Do something while the test goes on; the caller keeps the task."""
    return asyncio.get_running_loop().create_task(work)
