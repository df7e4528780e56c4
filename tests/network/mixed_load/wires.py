"""Sockets that keep no received bytes, for more bytes than fit into memory."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tests.helpers.messages import Reader
from tests.helpers.wire import Wire, WireListener

T = TypeVar("T")


class LeanWire(Wire):
    """A wire whose `received` stays empty."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what arrives next, b"" at the end; waits for as long as that takes."""
        return await asyncio.get_running_loop().sock_recv(self.sock, max_bytes)


async def accept(listener: WireListener) -> LeanWire:
    """Return the next connection; waits for as long as that takes."""
    sock, _address = await asyncio.get_running_loop().sock_accept(listener.sock)
    return LeanWire(sock)


async def send(wire: Wire, parts: Sequence[bytes], ends: bool = False) -> None:
    """Send parts one by one, two in each turn of the loop; half-close afterwards with `ends`."""
    for number, part in enumerate(parts):
        await wire.send(part)
        if number % 2:
            await asyncio.sleep(0)
    if ends:
        wire.end()


async def read_to_end(reader: Reader) -> bytes:
    """Return all bytes up to the end."""
    parts = []
    while data := await reader.receive():
        parts.append(data)
    return b"".join(parts)


async def while_sending(sending: Coroutine[Any, Any, None], receiving: Coroutine[Any, Any, T]) -> T:
    """Run both at once; return what is received when both are done."""
    task = asyncio.get_running_loop().create_task(sending)
    try:
        received = await receiving
        await task
        return received
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
