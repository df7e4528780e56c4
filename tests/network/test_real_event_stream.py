"""Server-sent events: an endless response; each event must arrive immediately."""

import asyncio

from tests.helpers.messages import Message
from tests.helpers.origins import OriginConnection, chunk, origin
from tests.helpers.script import get, stage
from tests.helpers.timing import soon
from tests.helpers.tools import tool


class Source:
    """Sends each event that is put into its queue, as a chunk or without framing."""

    def __init__(self, in_chunks: bool) -> None:
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        self._in_chunks = in_chunks

    async def __call__(self, connection: OriginConnection) -> None:
        request = await connection.request()
        assert isinstance(request, Message)
        coding = b"Transfer-Encoding: chunked\r\n" if self._in_chunks else b""
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + coding + b"\r\n"
        )
        while event := await self.events.get():
            await connection.send(chunk(event) if self._in_chunks else event)


async def test_curl_receives_each_event_immediately() -> None:
    source = Source(in_chunks=True)
    async with origin(source) as upstream, stage() as on:
        process = await asyncio.create_subprocess_exec(
            tool("curl"),
            *("-q", "-sSN", "--noproxy", "", "-H", f"X-Cmux-Port-Internal: {upstream.port}"),
            f"http://{on.address}/events",
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        for number in range(20):
            source.events.put_nowait(b"data: %d\n" % number)
            assert await soon(process.stdout.readline()) == b"data: %d\n" % number
        process.terminate()
        await process.communicate()
        # The source notices that the client has disconnected.
        connection = await upstream.first_connection()
        source.events.put_nowait(b"data: nobody\n" * 100_000)
        source.events.put_nowait(b"data: nobody\n" * 100_000)
        source.events.put_nowait(b"")
        await soon(connection.is_closed.wait())


async def test_events_without_framing_arrive_immediately() -> None:
    source = Source(in_chunks=False)
    async with origin(source) as upstream, stage() as on:
        client = await on.client()
        await client.says(get().replace(b"<port>", b"%d" % upstream.port))
        await client.gets_head()
        for number in range(20):
            source.events.put_nowait(b"data: %d\n\n" % number)
            event = b"data: %d\n\n" % number
            await client.gets(chunk(event))
        source.events.put_nowait(b"")
        await client.gets(b"0\r\n\r\n")
