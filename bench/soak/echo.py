"""The upstream of the idle WebSockets: grants each, and sends back every message.

python -m bench.soak.echo JOB
"""

import asyncio
from typing import cast

from bench.soak.jobs import Account, Job, in_background, keep_telling, run_job, say
from bench.soak.websocket import END_OF_HEAD, frame, key_in, response, take_message


class Echo(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._buffer = bytearray()
        self._is_granted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Grant the WebSocket once it is asked for; then send back what is complete."""
        self._buffer += data
        try:
            if not self._is_granted:
                self._grant()
            while self._is_granted and (message := take_message(self._buffer)) is not None:
                self._account.done["echoes"] += 1
                self._transport.write(frame(message))
        except ValueError as error:
            self._account.problem(f"upstream of WebSockets: {error}")
            self._transport.abort()

    def _grant(self) -> None:
        head, end, rest = bytes(self._buffer).partition(END_OF_HEAD)
        if end:
            self._is_granted = True
            self._buffer[:] = rest
            self._transport.write(response(key_in(head)))


async def serve(job: Job) -> None:
    """Serve until ended."""
    account = Account()
    loop = asyncio.get_running_loop()
    for port in job.ports:
        await loop.create_server(lambda: Echo(account), "127.0.0.1", port, backlog=4096)
    say(account.told() | {"listens": True})
    try:
        async with in_background(keep_telling(account.told, job.every)):
            await loop.create_future()
    finally:
        say(account.told() | {"over": True})


if __name__ == "__main__":
    run_job(serve)
