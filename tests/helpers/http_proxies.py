"""An HTTP proxy, as companies have one: every CONNECT leads to the same address.

async with http_proxy("127.0.0.1", 8080) as proxy:
    ... http_proxy=proxy.url ...
    assert proxy.heads == [b"CONNECT vm:80 HTTP/1.1\r\nHost: vm:80\r\n\r\n"]
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cmux_proxy.client.pipe import join


class HttpProxy:
    """A running HTTP proxy; `heads` are those of its requests, `response` is sent to each."""

    def __init__(self, host: str, port: int, response: bytes) -> None:
        self.heads: list[bytes] = []
        self.url = ""
        self._upstream = (host, port)
        self._response = response
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in the background."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self._response)
        if b" 200 " not in self._response:
            writer.close()
            return
        onward = await asyncio.open_connection(*self._upstream)
        await join(reader, writer, *onward, lambda _: None, lambda _: None)

    async def close(self) -> None:
        """Cancel the connections that are still open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def http_proxy(
    host: str, port: int, response: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
) -> AsyncIterator[HttpProxy]:
    """Run an HTTP proxy that leads to an address, or refuses with another response."""
    proxy = HttpProxy(host, port, response)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
