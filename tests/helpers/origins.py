"""A zoo of upstreams on loopback: well-behaved, slow, silent, rude and broken ones.

    async with origin(chunked([b"one", b"two"])) as upstream:
        ... upstream.port ...
        assert upstream.visits[0].received == b"..."

Each behaviour is a coroutine that is given one Visit, the connection of one caller.
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


class Visit(Reader):
    """One connection to an upstream; `asked` are the requests that came over it."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.asked: list[Message] = []
        self.is_over = asyncio.Event()

    @property
    def received(self) -> bytes:
        """Exactly the bytes that came."""
        return bytes(self.wire.received)

    async def head(self) -> Message | None:
        """Return the next request without its body; None when the caller has ended."""
        message = await super().head()
        if message is not None:
            self.asked.append(message)
        return message

    async def request(self) -> Message | None:
        """Return the next request with its body; None when the caller has ended."""
        message = await self.head()
        if message is not None:
            if message.field("expect"):
                await self.say(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self.body(message)
        return message

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        await self.wire.send(data)


Behaviour = Callable[[Visit], Awaitable[None]]


class Origin:
    """A listening upstream; `visits` are the connections that were made to it, in order."""

    def __init__(self, behaviour: Behaviour, listener: WireListener) -> None:
        self._behaviour = behaviour
        self._listener = listener
        self.port = listener.port
        self.visits: list[Visit] = []
        self._has_visit = asyncio.Event()

    async def visited(self) -> Visit:
        """Return the first connection; waits for it."""
        await soon(self._has_visit.wait())
        return self.visits[0]

    @property
    def asked(self) -> list[Message]:
        """All requests, connection by connection."""
        return [asked for visit in self.visits for asked in visit.asked]

    async def serve(self) -> None:
        """Serve whoever comes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                visit = Visit(await self._listener.accept())
                self.visits.append(visit)
                self._has_visit.set()
                group.create_task(self._receive(visit))

    async def _receive(self, visit: Visit) -> None:
        try:
            with visit.wire, contextlib.suppress(ConnectionError, EOFError):
                await self._behaviour(visit)
        finally:
            visit.is_over.set()


@contextlib.asynccontextmanager
async def origin(
    behaviour: Behaviour, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Origin]:
    """Run an upstream, on a port of its own unless one is given."""
    async with serving(behaviour, WireListener(host, port)) as upstream:
        yield upstream


@contextlib.asynccontextmanager
async def serving(behaviour: Behaviour, listener: WireListener) -> AsyncIterator[Origin]:
    """Run an upstream on a listener, and close that in the end."""
    upstream = Origin(behaviour, listener)
    task = asyncio.get_running_loop().create_task(upstream.serve())
    try:
        yield upstream
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listener.close()


# What an upstream says


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """Return a response of known length."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """Return one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def echo(asked: Message) -> bytes:
    """Return an answer that has the request's method, target and body in it."""
    return answer(asked.body, f"X-Method: {asked.method}", f"X-Target: {asked.target}")


# How an upstream behaves


def answering(reply: Callable[[Message], bytes]) -> Behaviour:
    """Answer every request with what `reply` returns, without the body to HEAD."""

    async def behave(visit: Visit) -> None:
        while (asked := await visit.request()) is not None:
            whole = reply(asked)
            end = whole.index(b"\r\n\r\n") + 4
            await visit.say(whole[:end] if asked.method == "HEAD" else whole)

    return behave


def length(body: bytes, *fields: str) -> Behaviour:
    """Answer with a body of known length."""
    return answering(lambda _asked: answer(body, *fields))


def chunked(pieces: Sequence[bytes], *trailers: str) -> Behaviour:
    """Answer in chunks, each sent by itself, and trailers."""

    async def behave(visit: Visit) -> None:
        while await visit.request() is not None:
            await visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                await visit.say(chunk(piece))
            await visit.say("\r\n".join(["0", *trailers, "", ""]).encode("latin-1"))

    return behave


def until_close(pieces: Sequence[bytes]) -> Behaviour:
    """Answer with a body that the end of the connection ends."""

    async def behave(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\n\r\n")
        for piece in pieces:
            await visit.say(piece)

    return behave


def slow(data: bytes) -> Behaviour:
    """Answer byte by byte, each in a turn of the loop of its own."""

    async def behave(visit: Visit) -> None:
        while await visit.request() is not None:
            for at in range(len(data)):
                await visit.say(data[at : at + 1])
                await asyncio.sleep(0)

    return behave


async def silent(visit: Visit) -> None:
    """Take everything and never answer."""
    while await visit.piece():
        pass


async def early_close(visit: Visit) -> None:
    """Close once a request is there, without an answer."""
    await visit.request()


async def resetting(visit: Visit) -> None:
    """Reset the connection once a request is there."""
    await visit.request()
    visit.wire.reset()


def early_reply(data: bytes) -> Behaviour:
    """Answer as soon as the head is there, and take the body afterwards."""

    async def behave(visit: Visit) -> None:
        while (asked := await visit.head()) is not None:
            await visit.say(data)
            await visit.body(asked)

    return behave


def rude_reply(data: bytes) -> Behaviour:
    """Answer as soon as the head is there, and close without reading the body."""

    async def behave(visit: Visit) -> None:
        await visit.head()
        await visit.say(data)

    return behave


def interim(several: Sequence[bytes], data: bytes) -> Behaviour:
    """Answer with interim responses and then with the final one."""

    async def behave(visit: Visit) -> None:
        while await visit.request() is not None:
            for one in several:
                await visit.say(one)
            await visit.say(data)

    return behave


def garbage(data: bytes) -> Behaviour:
    """Answer with bytes that are no answer, or none that is whole, and close."""

    async def behave(visit: Visit) -> None:
        await visit.request()
        await visit.say(data)

    return behave


async def switching(visit: Visit) -> None:
    """Grant an upgrade and send back what comes; answer other requests with 426."""
    while (asked := await visit.request()) is not None:
        protocol = asked.field("upgrade")
        if protocol is None:
            await visit.say(answer(b"", status="426 Upgrade Required"))
            continue
        key = (asked.field("sec-websocket-key") or "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID).digest()).decode()
        await visit.say(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        await returning(visit)
        return


async def returning(visit: Visit) -> None:
    """Send back every byte that comes, and then the end."""
    while data := await visit.piece():
        await visit.say(data)
