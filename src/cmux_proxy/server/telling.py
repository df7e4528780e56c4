"""Snapshots from this process and from others: who asks, connects and reads one to its end."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cmux_proxy.server.snapshot import Snapshot

# A worker that does not answer within so many seconds is left out.
_PATIENCE: Final = 2.0

_log = logging.getLogger("cmux_proxy")

# Returns a snapshot, with a list of at most so many connections.
Tell = Callable[[int], Snapshot]


class OneWorker:
    """The worker of this very process."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    async def snapshots(self, most: int) -> list[Snapshot]:
        """Return its snapshot."""
        return [self._tell(most)]


class SeveralWorkers:
    """Workers that listen at `paths`."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    async def snapshots(self, most: int) -> list[Snapshot]:
        """Return the snapshots of those that answer in time."""
        asked = await asyncio.gather(*(_ask(path, most) for path in self._paths))
        return [told for told in asked if told is not None]


async def _ask(path: str, most: int) -> Snapshot | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"%d\n" % most)
                told: Snapshot = json.loads(await reader.read())
                return told
            finally:
                writer.close()
    except (OSError, ValueError) as error:
        # TimeoutError is an OSError: the worker is busy, or a new one is about to start.
        _log.debug("a worker does not tell what it does: %r", error)
        return None


async def tell_others(sock: socket.socket, tell: Tell) -> asyncio.AbstractServer:
    """Answer on a socket that listens; return the server, for the caller to close."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                asked = await reader.readline()
                writer.write(json.dumps(tell(int(asked))).encode())
                await writer.drain()
        except (OSError, ValueError):
            pass  # whoever asked has gone, perhaps before it had asked
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: those that asyncio makes here complain, in Python 3.11, when they end
        # with the process.
        task = loop.create_task(answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    return await asyncio.start_unix_server(accept, sock=sock)
