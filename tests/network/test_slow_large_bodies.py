"""Bodies much larger than the proxy's buffers arrive completely; a stopped reader stops the sender.

CMUX_LARGE_BODY is their size in bytes (1 GiB).
"""

import os
import sys
from typing import Final

import pytest

from tests.helpers.messages import Reader
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.network.mixed_load.pairs import Pair, next_head, pairs
from tests.network.mixed_load.streams import digest, received_digest, send_stream
from tests.network.mixed_load.wires import LeanWire, while_sending

SIZE: Final = int(os.environ.get("CMUX_LARGE_BODY", str(1024**3)))
MAX_MEMORY: Final = 64 * 1024**2

# Clients that stop reading; without back-pressure their upstreams would write more than this.
STALLED: Final = 16
MAX_BUFFERED: Final = STALLED * 24 * 1024**2
BUFFER: Final = 256 * 1024
# Each may have 256 KiB in the proxy; allocators keep the remaining memory.
MAX_GROWTH: Final = STALLED * 1024**2
# Upstreams count as stopped after this many round trips through the proxy without progress.
ROUNDS: Final = 25

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def framings(size: int) -> pytest.MarkDecorator:
    """Parametrize a test with both framings of a body of this size."""
    fields = {"length": f"Content-Length: {size}", "chunked": "Transfer-Encoding: chunked"}
    return pytest.mark.parametrize(("framing", "field"), fields.items(), ids=fields)


@pytest.mark.slow
@pytest.mark.timeout(600)
@on_linux
@framings(SIZE)
async def test_a_large_download_arrives_completely_in_little_memory(
    loop_name: str, framing: str, field: str
) -> None:
    async with proxy_process(loop_name) as proxy:
        async with pairs(proxy, 1, "GET / HTTP/1.1") as [pair]:
            await pair.begin_response(field)
            sending = send_stream(pair.upstream.wire, SIZE, framing)
            got = await while_sending(sending, received_digest(pair.client, SIZE, framing))
            assert got == digest(SIZE)
        check_memory(proxy, MAX_MEMORY)
        await proxy.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@on_linux
@framings(SIZE)
async def test_a_large_upload_arrives_completely_in_little_memory(
    loop_name: str, framing: str, field: str
) -> None:
    async with proxy_process(loop_name) as proxy:
        async with pairs(proxy, 1, "POST / HTTP/1.1", field) as [pair]:
            sending = send_stream(pair.client.wire, SIZE, framing)
            got = await while_sending(sending, received_digest(pair.upstream, SIZE, framing))
            assert got == digest(SIZE)
            await pair.upstream.wire.send(head("HTTP/1.1 204 No Content"))
            assert (await next_head(pair.client)).status == 204
        check_memory(proxy, MAX_MEMORY)
        await proxy.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@on_linux
@framings(1024**5)
async def test_clients_that_stop_reading_an_endless_download_stop_their_upstreams(
    loop_name: str, framing: str, field: str
) -> None:
    async with proxy_process(loop_name) as proxy:
        before = proxy.peak_memory()
        with await LeanWire.to("127.0.0.1", proxy.port) as wire:
            bystander = Reader(wire)
            async with pairs(proxy, STALLED, "GET / HTTP/1.1", buffer=BUFFER) as stalled:
                for pair in stalled:
                    await pair.begin_response(field)
                for _ in range(3):
                    await push_until_stopped(stalled, framing, bystander)
                    # When the clients read again, the upstreams continue.
                    for pair in stalled:
                        await pair.read_pushed(framing)
                await push_until_stopped(stalled, framing, bystander)
                for pair in stalled:
                    await reset_client(pair)
        check_memory(proxy, before + MAX_GROWTH)
        await proxy.stop()


async def push_until_stopped(stalled: list[Pair], framing: str, bystander: Reader) -> None:
    """Let the upstreams write until none of them can write any more."""
    total = 0
    idle_rounds = 0
    while idle_rounds < ROUNDS:
        pushed = sum(pair.push(framing) for pair in stalled)
        total += pushed
        assert total < MAX_BUFFERED, "the upstreams are not stopped"
        await bystander.wire.send(head("GET / HTTP/1.1", "Host: a"))
        assert (await soon(bystander.response())).status == 400
        idle_rounds = 0 if pushed else idle_rounds + 1


async def reset_client(pair: Pair) -> None:
    """Reset the client's connection; the upstream must get a reset."""
    pair.client.wire.reset()
    with pytest.raises(ConnectionResetError):
        await soon(pair.upstream.receive())


def check_memory(proxy: ProxyProcess, max_memory: int) -> None:
    """Fail if the peak memory of the proxy has reached `max_memory`."""
    peak = proxy.peak_memory()
    print(f"{peak >> 10} of {max_memory >> 10} KiB at most")
    assert peak < max_memory
