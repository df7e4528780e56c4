"""Sockets that remember nothing, for more bytes than fit into memory."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire, WireListener

T = TypeVar("T")


class LeanWire(Wire):
    """A wire whose `received` stays empty."""

    async def receive(self, most: int = 65536) -> bytes:
        """Return what arrives next, b"" at the end; waits for as long as that takes."""
        return await asyncio.get_running_loop().sock_recv(self.sock, most)


async def accept(listener: WireListener) -> LeanWire:
    """Return the next connection; waits for as long as that takes."""
    sock, _address = await asyncio.get_running_loop().sock_accept(listener.sock)
    return LeanWire(sock)


async def send(wire: Wire, pieces: Sequence[bytes], ends: bool = False) -> None:
    """Send pieces one by one, two in each turn of the loop, and then perhaps the end."""
    for number, piece in enumerate(pieces):
        await wire.send(piece)
        if number % 2:
            await asyncio.sleep(0)
    if ends:
        wire.end()


async def read_to_end(reader: Reader) -> bytes:
    """Return everything up to the end."""
    pieces = []
    while data := await reader.receive():
        pieces.append(data)
    return b"".join(pieces)


async def while_sending(sending: Coroutine[Any, Any, None], receiving: Coroutine[Any, Any, T]) -> T:
    """Return what is received, with the sending done too; neither waits for the other."""
    task = asyncio.get_running_loop().create_task(sending)
    try:
        received = await receiving
        await task
        return received
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
