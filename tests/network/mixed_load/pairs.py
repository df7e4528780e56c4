"""A client and an upstream with the proxy between them, and one request in progress."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from tests.helpers.messages import Message, Reader
from tests.helpers.proxies import ProxyProcess
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.wire import WireListener
from tests.network.mixed_load.bodies import Chunks
from tests.network.mixed_load.streams import BLOCK, block, encoded_block
from tests.network.mixed_load.wires import LeanWire, accept

# An upstream writes no more than this in one push.
_MAX_PUSH: Final = 8 * 1024 * 1024


class Pair:
    """Both ends; of a download, `pushed` counts bytes written and `seen` blocks read."""

    def __init__(self, client: Reader, upstream: Reader) -> None:
        self.client = client
        self.upstream = upstream
        self.pushed = 0
        self.seen = 0
        self._chunks = Chunks(client)

    def close(self) -> None:
        """Close both ends."""
        self.client.wire.close()
        self.upstream.wire.close()

    async def begin_response(self, *fields: str) -> None:
        """Let the upstream send a head and the client read it."""
        await self.upstream.wire.send(head("HTTP/1.1 200 OK", *fields))
        await next_head(self.client)

    def push(self, framing: str) -> int:
        """Let the upstream write as much as it can; return the number of bytes."""
        size = len(encoded_block(0, framing))
        before = self.pushed
        with contextlib.suppress(BlockingIOError):
            while self.pushed - before < _MAX_PUSH:
                remaining = encoded_block(self.pushed // size, framing)[self.pushed % size :]
                self.pushed += self.upstream.wire.sock.send(remaining)
        return self.pushed - before

    async def read_pushed(self, framing: str) -> None:
        """Let the client read all complete blocks that were pushed; fail if one is wrong."""
        size = len(encoded_block(0, framing))
        while self.seen < self.pushed // size:
            chunked = framing == "chunked"
            got = await later(anext(self._chunks) if chunked else self.client.take(BLOCK))
            assert got == block(self.seen), f"block {self.seen} differs"
            self.seen += 1


async def next_head(reader: Reader) -> Message:
    """Return the next head."""
    message = await later(reader.head())
    assert message is not None
    return message


@contextlib.asynccontextmanager
async def pairs(
    proxy: ProxyProcess, count: int, *request: str, buffer: int | None = None
) -> AsyncIterator[list[Pair]]:
    """Open pairs with this request; `buffer` is the size of the socket buffers."""
    listener = WireListener(buffer=buffer)
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        opened = []
        for _ in range(count):
            opened.append(await _pair(proxy, listener, request, buffer))
            stack.callback(opened[-1].close)
        yield opened


async def _pair(
    proxy: ProxyProcess, listener: WireListener, request: tuple[str, ...], buffer: int | None
) -> Pair:
    start, *fields = request
    wire = await LeanWire.to("127.0.0.1", proxy.port, buffer)
    route = f"X-Cmux-Port-Internal: {listener.port}"
    await wire.send(head(start, "Host: large.test", route, *fields))
    upstream = Reader(await soon(accept(listener)))
    received = await next_head(upstream)
    assert received.head + b"\r\n\r\n" == head(start, "Host: large.test", *fields)
    return Pair(Reader(wire), upstream)
