"""An upstream for machines without nginx: python -m bench.load.upstream PORT...

Reads every blank line as the end of a request, and its path as the length of the response. Only for
benchmarks whose requests have no body.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from functools import cache
from typing import cast

_PATH = re.compile(rb"GET /([0-9]*) ")
_GREETING = b"hello, world\n"


@cache
def response(length: int) -> bytes:
    """Return the response: a greeting, or `length` bytes."""
    body = bytes(length) or _GREETING
    return (
        b"HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: text/plain\r\n"
        b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(body), body)
    )


class Upstream(asyncio.Protocol):
    """Responds to the requests of one connection."""

    def __init__(self) -> None:
        self._incomplete = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the responses."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Respond to the complete requests."""
        *complete, self._incomplete = (self._incomplete + data).split(b"\r\n\r\n")
        for head in complete:
            match = _PATH.match(head)
            self._transport.write(response(int(match[1] or 0) if match else 0))


async def serve(ports: Sequence[int]) -> None:
    """Serve on all ports until the process ends."""
    loop = asyncio.get_running_loop()
    # A server closes its sockets when it is freed.
    servers = [
        await loop.create_server(Upstream, "127.0.0.1", port, backlog=4096) for port in ports
    ]
    await servers[0].serve_forever()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop if it is installed, otherwise of asyncio."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve([int(port) for port in sys.argv[1:]]))
