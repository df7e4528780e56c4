"""An upstream for machines without nginx: python -m bench.load.origin PORT.

Takes every blank line for the end of a request and answers it; for benchmarks, where no request
has a body.
"""

import asyncio
import sys
from typing import cast

_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
    b"Connection: keep-alive\r\n\r\nhello, world\n"
)


class Origin(asyncio.Protocol):
    """Answers requests on one connection."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        *complete, self._rest = (self._rest + data).split(b"\r\n\r\n")
        if complete:
            self._transport.write(_RESPONSE * len(complete))


async def serve(port: int) -> None:
    """Answer until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port, backlog=4096)
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
