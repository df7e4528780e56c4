"""An upstream for machines without nginx: python -m bench.load.upstream PORT.

Takes every blank line for the end of a request, and its path for the length of the answer; for
benchmarks, where no request has a body.
"""

import asyncio
import re
import sys
from functools import cache
from typing import cast

_PATH = re.compile(rb"GET /([0-9]*) ")
_GREETING = b"hello, world\n"


@cache
def response(length: int) -> bytes:
    """Return the answer: a greeting, or so many bytes."""
    body = bytes(length) or _GREETING
    return (
        b"HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: text/plain\r\n"
        b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(body), body)
    )


class Upstream(asyncio.Protocol):
    """Answers requests on one connection."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        *complete, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in complete:
            match = _PATH.match(head)
            self._transport.write(response(int(match[1] or 0) if match else 0))


async def serve(port: int) -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop, where that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
