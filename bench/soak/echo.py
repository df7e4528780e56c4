"""The upstream of the idle WebSockets: grants each upgrade, and echoes every message.

python -m bench.soak.echo JOB
"""

import asyncio
from typing import cast

from bench.soak.jobs import Counts, Job, in_background, keep_reporting, print_report, run_job
from bench.soak.websocket import END_OF_HEAD, frame, key_in, response, take_message


class Echo(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = bytearray()
        self._is_granted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the responses."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Grant the upgrade when its head is complete; then echo complete messages."""
        self._buffer += data
        try:
            if not self._is_granted:
                self._grant()
            while self._is_granted and (message := take_message(self._buffer)) is not None:
                self._counts.done["echoes"] += 1
                self._transport.write(frame(message))
        except ValueError as error:
            self._counts.problem(f"upstream of WebSockets: {error}")
            self._transport.abort()

    def _grant(self) -> None:
        head, end, remaining = bytes(self._buffer).partition(END_OF_HEAD)
        if end:
            self._is_granted = True
            self._buffer[:] = remaining
            self._transport.write(response(key_in(head)))


async def serve(job: Job) -> None:
    """Serve until the parent stops it."""
    counts = Counts()
    loop = asyncio.get_running_loop()
    for port in job.ports:
        await loop.create_server(lambda: Echo(counts), "127.0.0.1", port, backlog=4096)
    print_report(counts.report() | {"listens": True})
    try:
        async with in_background(keep_reporting(counts.report, job.every)):
            await loop.create_future()
    finally:
        print_report(counts.report() | {"over": True})


if __name__ == "__main__":
    run_job(serve)
