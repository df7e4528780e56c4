"""Bodies much larger than what the proxy may hold arrive whole, and a reader that stops is felt.

CMUX_LARGE_BODY says how large, in bytes (1 GiB).
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
MOST_MEMORY: Final = 64 * 1024**2

# Clients that stop reading; what their upstreams could write if nobody stopped them is more.
STALLED: Final = 16
FITS: Final = STALLED * 24 * 1024**2
BUFFER: Final = 256 * 1024
# Each may have 256 KiB in the proxy; the rest is for what allocators keep.
MOST_HELD: Final = STALLED * 1024**2
# After so many round trips through the proxy without progress, the upstreams are called stopped.
ROUNDS: Final = 25

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def framings(size: int) -> pytest.MarkDecorator:
    """Run a test with each framing of a body of that size."""
    fields = {"length": f"Content-Length: {size}", "chunked": "Transfer-Encoding: chunked"}
    return pytest.mark.parametrize(("framing", "field"), fields.items(), ids=fields)


@pytest.mark.slow
@pytest.mark.timeout(600)
@on_linux
@framings(SIZE)
async def test_a_large_download_arrives_whole_in_little_memory(
    loop_name: str, framing: str, field: str
) -> None:
    async with proxy_process(loop_name) as proxy:
        async with pairs(proxy, 1, "GET / HTTP/1.1") as [pair]:
            await pair.begin_answer(field)
            sending = send_stream(pair.upstream.wire, SIZE, framing)
            got = await while_sending(sending, received_digest(pair.client, SIZE, framing))
            assert got == digest(SIZE)
        check_memory(proxy, MOST_MEMORY)
        await proxy.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@on_linux
@framings(SIZE)
async def test_a_large_upload_arrives_whole_in_little_memory(
    loop_name: str, framing: str, field: str
) -> None:
    async with proxy_process(loop_name) as proxy:
        async with pairs(proxy, 1, "POST / HTTP/1.1", field) as [pair]:
            sending = send_stream(pair.client.wire, SIZE, framing)
            got = await while_sending(sending, received_digest(pair.upstream, SIZE, framing))
            assert got == digest(SIZE)
            await pair.upstream.wire.send(head("HTTP/1.1 204 No Content"))
            assert (await next_head(pair.client)).status == 204
        check_memory(proxy, MOST_MEMORY)
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
            other = Reader(wire)
            async with pairs(proxy, STALLED, "GET / HTTP/1.1", buffer=BUFFER) as stalled:
                for pair in stalled:
                    await pair.begin_answer(field)
                for _ in range(3):
                    await push_until_stopped(stalled, framing, other)
                    # As soon as the clients read again, everything flows on.
                    for pair in stalled:
                        await pair.read_pushed(framing)
                await push_until_stopped(stalled, framing, other)
                for pair in stalled:
                    await leave(pair)
        check_memory(proxy, before + MOST_HELD)
        await proxy.stop()


async def push_until_stopped(stalled: list[Pair], framing: str, other: Reader) -> None:
    """Have the upstreams write until none can write any more, though the proxy had its chance."""
    total = 0
    idle_rounds = 0
    while idle_rounds < ROUNDS:
        pushed = sum(pair.push(framing) for pair in stalled)
        total += pushed
        assert total < FITS, "nobody stops the upstreams"
        await other.wire.send(head("GET / HTTP/1.1", "Host: a"))
        assert (await soon(other.response())).status == 400
        idle_rounds = 0 if pushed else idle_rounds + 1


async def leave(pair: Pair) -> None:
    """Have the client leave; the upstream has to notice."""
    pair.client.wire.reset()
    with pytest.raises(ConnectionResetError):
        await soon(pair.upstream.receive())


def check_memory(proxy: ProxyProcess, most: int) -> None:
    """Fail if the proxy has had more memory than that at any time."""
    peak = proxy.peak_memory()
    print(f"{peak >> 10} of {most >> 10} KiB at most")
    assert peak < most
