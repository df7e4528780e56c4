"""Upstreams that reset tunnels: their clients get resets, and other clients notice nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from tests.helpers.origins import echo_bytes, origin
from tests.helpers.proxies import proxy_process
from tests.helpers.script import ESTABLISHED, head
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, WireListener

CLIENTS: Final = 40
ROUNDS: Final = 30


def connect(port: int) -> bytes:
    return head("CONNECT a:1 HTTP/1.1", "Host: a:1", f"X-Cmux-Port-Internal: {port}")


@contextlib.asynccontextmanager
async def resetting_upstream() -> AsyncIterator[int]:
    """Reset every connection: some at once, the others in the next turn of the loop."""

    async def reset_all(listener: WireListener) -> None:
        while True:
            wire = await listener.accept()
            if wire.sock.fileno() % 2:
                await asyncio.sleep(0)
            wire.reset()

    listener = WireListener()
    task = asyncio.get_running_loop().create_task(reset_all(listener))
    try:
        yield listener.port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


async def open_and_close(proxy_port: int, port: int, early: bytes) -> str:
    """Open a tunnel, send bytes, half-close, and return the result."""
    with await Wire.to("127.0.0.1", proxy_port) as wire:
        try:
            await wire.send(connect(port) + early)
            wire.end()
            response = await soon(wire.receive_all())
        except TimeoutError:
            return "lost"
        except OSError:
            return "reset"
    return "refused" if response.startswith(b"HTTP/1.1 502 ") else "ended"


async def test_resets_are_passed_on_and_do_not_affect_other_tunnels(loop_name: str) -> None:
    async with (
        proxy_process(loop_name) as proxy,
        origin(echo_bytes) as echo,
        resetting_upstream() as port,
    ):
        bystander = await Wire.to("127.0.0.1", proxy.port)
        with bystander:
            await bystander.send(connect(echo.port))
            assert await soon(bystander.receive()) == ESTABLISHED
            results = set()
            for number in range(ROUNDS):
                early = b"x" * (number % 3 * 1500)
                tunnels = [open_and_close(proxy.port, port, early) for _ in range(CLIENTS)]
                results.update(await later(asyncio.gather(*tunnels)))
                await bystander.send(b"still here")
                assert await soon(bystander.receive()) == b"still here"
        await proxy.stop()
    assert results <= {"reset", "refused"}
