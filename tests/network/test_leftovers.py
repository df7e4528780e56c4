"""Objects of a closed connection are freed without the garbage collector."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.helpers.leftovers import live_objects
from tests.helpers.proxies import local_config
from tests.helpers.script import Stage, head, stage
from tests.helpers.wire import closed_port, deaf_port

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def exchange(on: Stage) -> None:
    client, upstream = await on.pair()
    await upstream.says(OK)
    await client.gets(OK)
    client.closes()


async def refusal(on: Stage) -> None:
    client = await on.client()
    await client.says(b"nonsense\r\n\r\n")
    await client.gets_error(400, "http_request_error", closes=True)
    client.closes()


async def failed_dial(on: Stage) -> None:
    client = await on.client()
    with closed_port() as port:
        await client.says(head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}"))
        await client.gets_error(502, "connection_refused")
    client.closes()


async def abandoned_dial(on: Stage) -> None:
    client = await on.client()
    async with deaf_port() as port:
        await client.says(head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}"))
        await on.serves()
        client.resets()
        await on.serves()


async def tunnel(on: Stage) -> None:
    client, upstream = await on.tunnel()
    await client.says(b"x" * 1_000_000)
    await upstream.gets(b"x" * 1_000_000)
    client.closes()
    await upstream.gets_end()
    upstream.closes()


async def broken_tunnel(on: Stage) -> None:
    client, upstream = await on.websocket()
    upstream.resets()
    await client.gets_reset()


async def client_disconnect(on: Stage) -> None:
    client, upstream = await on.pair()
    client.resets()
    await upstream.gets_cut()


async def incomplete_response(on: Stage) -> None:
    client, upstream = await on.pair()
    await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 10") + b"01234")
    upstream.resets()
    await client.gets_cut()


@pytest.mark.parametrize(
    "play",
    [
        exchange,
        refusal,
        failed_dial,
        abandoned_dial,
        tunnel,
        broken_tunnel,
        client_disconnect,
        incomplete_response,
    ],
)
async def test_no_object_of_a_closed_connection_is_left(
    play: Callable[[Stage], Awaitable[None]],
) -> None:
    before = live_objects()
    async with stage(local_config()) as on:
        await play(on)
    # The event loop reports the last closed connections in its next turns.
    for _ in range(3):
        await asyncio.sleep(0)
    assert live_objects() == before
