"""A proxy that runs out of memory drops exchanges, and only exchanges."""

import contextlib
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.helpers.messages import Reader
from tests.helpers.proxies import ProxyProcess, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later
from tests.network.faults.content import mark_of
from tests.network.faults.harness import Arrival, Harness, harness
from tests.network.mixed_load.bodies import content
from tests.network.mixed_load.memory import footprint, settled_footprint, without_splice_pipe

# The proxy holds at least 18 KiB for a client that does not read: ten times ALLOWED in total.
CLIENTS: Final = 384
# SIZE is more than the kernel buffers; a client that has read SEEN bytes is being served.
SIZE: Final = 64 * 1024 * 1024
SEEN: Final = 2 * 1024 * 1024
BLOCK: Final = 65536
ALLOWED: Final = 512 * 1024
# The kernel buffers less than a response.
BUFFER: Final = 65536

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


# A callback that asyncio or uvloop could not even schedule leaves an exchange waiting; its timeout
# ends it.
TIMEOUTS: Final = (
    *("--connect-timeout", "10s", "--response-timeout", "10s"),
    *("--body-timeout", "10s", "--response-idle-timeout", "10s", "--idle-timeout", "10s"),
)


# Slow, and no part of each run: with so little memory, CPython itself may abort, because it cannot
# make the exception that says so.
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_without_memory_exchanges_are_dropped_and_the_proxy_goes_on(loop_name: str) -> None:
    if loop_name == "uvloop":
        pytest.skip("after a failed allocation, its transports may never send what they hold")
    async with proxy_process(loop_name, *TIMEOUTS) as proxy:
        before = footprint(proxy)
        async with harness(proxy.port) as on, contextlib.AsyncExitStack() as stack:
            on.add_handler("long", _sends_long_response)
            await on.serves()
            paths = [f"/long/{on.mark()}" for _ in range(CLIENTS)]
            with _limited_memory(proxy):
                readers = [await _ask(on, path, stack) for path in paths]
                # This test needs memory to run out.
                assert "no memory is left" in await proxy.error_line()
            ends = Counter([await _end(*pair) for pair in zip(readers, paths, strict=True)])
            print(ends)
            await on.serves()
        after = await settled_footprint(proxy, before)
        assert without_splice_pipe(after.descriptors, before.descriptors) == before.descriptors
        await proxy.wait_until_asleep()
        proxy.signal()
        status, errors = await proxy.ended()
        assert status == 0
        assert [line for line in errors.splitlines() if "no memory is left" not in line] == []


@contextlib.contextmanager
def _limited_memory(proxy: ProxyProcess) -> Iterator[None]:
    """Allow the proxy little more memory than it has."""
    with open(f"/proc/{proxy.pid}/statm", encoding="ascii") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.prlimit(proxy.pid, resource.RLIMIT_AS, (size + ALLOWED, -1))
    try:
        yield
    finally:
        resource.prlimit(proxy.pid, resource.RLIMIT_AS, before)


async def _sends_long_response(arrival: Arrival) -> bool:
    await arrival.connection.send(_head(arrival.mark))
    block = content(arrival.mark, BLOCK)
    for _ in range(SIZE // BLOCK):
        await arrival.connection.send(block)
    return True


def _head(mark: str) -> bytes:
    return head("HTTP/1.1 200 OK", f"X-Mark: {mark}", f"Content-Length: {SIZE}")


async def _ask(on: Harness, path: str, stack: contextlib.AsyncExitStack) -> Reader:
    """Request a long response, and read nothing of it yet."""
    reader = await stack.enter_async_context(on.client(BUFFER))
    with contextlib.suppress(ConnectionError):
        await reader.wire.send(on.request(f"GET {path}"))
    return reader


async def _end(reader: Reader, path: str) -> str:
    """Read a response; fail if bytes of another response arrive. Return how it ended."""
    mark = mark_of(path)
    expected = _head(mark) + content(mark, BLOCK) * (SEEN // BLOCK)
    count = 0
    with contextlib.suppress(ConnectionError):
        while count < SEEN and (data := await later(reader.receive())):
            if not count and data.startswith(b"HTTP/1.1 50"):
                return "error"
            part = expected[count : count + len(data)]
            assert data[: len(part)] == part, "bytes are missing, or belong to another response"
            count += len(data)
    return "served" if count >= SEEN else "cut"
