"""Upstreams on loopback: well-behaved, slow, silent and broken.

    async with origin(chunked([b"one", b"two"])) as upstream:
        ... upstream.port ...
        assert upstream.visits[0].received == b"..."

A behaviour is a coroutine that serves one OriginConnection.
"""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from tests.helpers.messages import Message, Reader
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class OriginConnection(Reader):
    """One connection to an upstream; `requests` are the requests that it has received."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.requests: list[Message] = []
        self.is_closed = asyncio.Event()

    @property
    def received(self) -> bytes:
        """All bytes that have arrived."""
        return bytes(self.wire.received)

    async def head(self) -> Message | None:
        """Return the next request without its body; None at the end."""
        message = await super().head()
        if message is not None:
            self.requests.append(message)
        return message

    async def request(self) -> Message | None:
        """Return the next request with its body; None at the end."""
        message = await self.head()
        if message is not None:
            if message.field("expect"):
                await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self.body(message)
        return message

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self.wire.send(data)


Behaviour = Callable[[OriginConnection], Awaitable[None]]


class Origin:
    """A listening upstream; `connections` are those that it has accepted, in order."""

    def __init__(self, behaviour: Behaviour, listener: WireListener) -> None:
        self._behaviour = behaviour
        self._listener = listener
        self.port = listener.port
        self.connections: list[OriginConnection] = []
        self._has_connection = asyncio.Event()

    async def first_connection(self) -> OriginConnection:
        """Return the first connection; waits until there is one."""
        await soon(self._has_connection.wait())
        return self.connections[0]

    @property
    def requests(self) -> list[Message]:
        """All requests, connection by connection."""
        return [request for connection in self.connections for request in connection.requests]

    async def serve(self) -> None:
        """Serve every connection, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                connection = OriginConnection(await self._listener.accept())
                self.connections.append(connection)
                self._has_connection.set()
                group.create_task(self._receive(connection))

    async def _receive(self, connection: OriginConnection) -> None:
        try:
            with connection.wire, contextlib.suppress(ConnectionError, EOFError):
                await self._behaviour(connection)
        finally:
            connection.is_closed.set()


@contextlib.asynccontextmanager
async def origin(
    behaviour: Behaviour, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Origin]:
    """Run an upstream; port 0 takes a free port."""
    async with serving(behaviour, WireListener(host, port)) as upstream:
        yield upstream


@contextlib.asynccontextmanager
async def serving(behaviour: Behaviour, listener: WireListener) -> AsyncIterator[Origin]:
    """Run an upstream on a listener, and close the listener at the end."""
    upstream = Origin(behaviour, listener)
    task = asyncio.get_running_loop().create_task(upstream.serve())
    try:
        yield upstream
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listener.close()


# Responses of an upstream


def http_response(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """Return a response with Content-Length."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """Return one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def echo(request: Message) -> bytes:
    """Return a response that contains the request's method, target and body."""
    fields = (f"X-Method: {request.method}", f"X-Target: {request.target}")
    return http_response(request.body, *fields)


# Behaviours of an upstream


def responding(respond: Callable[[Message], bytes]) -> Behaviour:
    """Send the result of `respond` for every request, without its body for HEAD."""

    async def behave(connection: OriginConnection) -> None:
        while (request := await connection.request()) is not None:
            response = respond(request)
            end = response.index(b"\r\n\r\n") + 4
            await connection.send(response[:end] if request.method == "HEAD" else response)

    return behave


def fixed_length(body: bytes, *fields: str) -> Behaviour:
    """Respond with Content-Length."""
    return responding(lambda _request: http_response(body, *fields))


def chunked(chunks: Sequence[bytes], *trailers: str) -> Behaviour:
    """Respond with chunks, each in a write of its own, and trailers."""

    async def behave(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for data in chunks:
                await connection.send(chunk(data))
            await connection.send("\r\n".join(["0", *trailers, "", ""]).encode("latin-1"))

    return behave


def until_close(parts: Sequence[bytes]) -> Behaviour:
    """Respond with a body that ends with the connection, each part in a write of its own."""

    async def behave(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for part in parts:
            await connection.send(part)

    return behave


def slow(data: bytes) -> Behaviour:
    """Respond byte by byte, with one byte in each turn of the event loop."""

    async def behave(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            for at in range(len(data)):
                await connection.send(data[at : at + 1])
                await asyncio.sleep(0)

    return behave


async def silent(connection: OriginConnection) -> None:
    """Read everything and never respond."""
    while await connection.receive():
        pass


async def close_early(connection: OriginConnection) -> None:
    """Close after a request, without a response."""
    await connection.request()


async def reset(connection: OriginConnection) -> None:
    """Reset the connection after a request, without a response."""
    await connection.request()
    connection.wire.reset()


def early_response(data: bytes) -> Behaviour:
    """Respond after the head, and read the body afterwards."""

    async def behave(connection: OriginConnection) -> None:
        while (request := await connection.head()) is not None:
            await connection.send(data)
            await connection.body(request)

    return behave


def response_without_reading(data: bytes) -> Behaviour:
    """Respond after the head, and close without reading the body."""

    async def behave(connection: OriginConnection) -> None:
        await connection.head()
        await connection.send(data)

    return behave


def interim(responses: Sequence[bytes], final: bytes) -> Behaviour:
    """Respond with interim responses and then with the final response."""

    async def behave(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            for response in responses:
                await connection.send(response)
            await connection.send(final)

    return behave


def malformed(data: bytes) -> Behaviour:
    """Send bytes that are no response, or an incomplete response, and close."""

    async def behave(connection: OriginConnection) -> None:
        await connection.request()
        await connection.send(data)

    return behave


async def upgrading(connection: OriginConnection) -> None:
    """Grant an upgrade and echo all bytes after it; respond to other requests with 426."""
    while (request := await connection.request()) is not None:
        protocol = request.field("upgrade")
        if protocol is None:
            await connection.send(http_response(b"", status="426 Upgrade Required"))
            continue
        key = (request.field("sec-websocket-key") or "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID).digest()).decode()
        await connection.send(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        await echo_bytes(connection)
        return


async def echo_bytes(connection: OriginConnection) -> None:
    """Send back every byte that arrives, and then the end."""
    while data := await connection.receive():
        await connection.send(data)
