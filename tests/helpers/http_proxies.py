"""An HTTP proxy, as companies have one: it lets everybody through to one place, whatever is asked.

async with http_proxy("127.0.0.1", 8080) as way:
    ... http_proxy=way.url ...
    assert way.asked == [b"CONNECT vm:80 HTTP/1.1\r\nHost: vm:80\r\n\r\n"]
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cmux_proxy.client.pipe import join


class HttpProxy:
    """A running one; `asked` are the heads that it got, `answer` is what it says to them."""

    def __init__(self, host: str, port: int, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self.url = ""
        self._leads_to = (host, port)
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in the background."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self._answer)
        if b" 200 " not in self._answer:
            writer.close()
            return
        onward = await asyncio.open_connection(*self._leads_to)
        await join(reader, writer, *onward, lambda _: None, lambda _: None)

    async def close(self) -> None:
        """End what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def http_proxy(
    host: str, port: int, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
) -> AsyncIterator[HttpProxy]:
    """Run one that leads to a place, or refuses with an answer."""
    way = HttpProxy(host, port, answer)
    server = await asyncio.start_server(way.accept, "127.0.0.1", 0)
    way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        await way.close()
