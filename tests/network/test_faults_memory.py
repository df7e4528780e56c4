"""A proxy that is given no more memory drops exchanges, and nothing but exchanges."""

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
from tests.network.faults.ground import Ground, Strike, ground
from tests.network.mixed_load.bodies import content
from tests.network.mixed_load.memory import footprint, passing, settled_footprint

# For a client that does not read, the proxy holds 18 KiB at least, all in all twenty times ALLOWED.
CLIENTS: Final = 384
# No kernel holds so much, and so much shows that an answer goes on.
SIZE: Final = 64 * 1024 * 1024
SEEN: Final = 2 * 1024 * 1024
BLOCK: Final = 65536
ALLOWED: Final = 256 * 1024
# The kernel holds less than an answer.
BUFFER: Final = 65536

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.timeout(120)
async def test_without_memory_exchanges_are_dropped_and_the_proxy_goes_on(loop_name: str) -> None:
    async with proxy_process(loop_name) as proxy:
        before = footprint(proxy)
        async with ground(proxy.port) as on, contextlib.AsyncExitStack() as stack:
            on.does("much", _says_much)
            await on.serves()
            paths = [f"/much/{on.mark()}" for _ in range(CLIENTS)]
            with _poor(proxy):
                readers = [await _ask(on, path, stack) for path in paths]
                # That memory has run out is the condition of this test.
                assert "no memory is left" in await proxy.error_line()
            ends = Counter([await _end(*each) for each in zip(readers, paths, strict=True)])
            print(ends)
            await on.serves()
        after = await settled_footprint(proxy, before)
        assert passing(after.descriptors, before.descriptors) == before.descriptors
        await proxy.wait_until_asleep()
        proxy.signal()
        status, errors = await proxy.ended()
        assert status == 0
        assert [line for line in errors.splitlines() if "no memory is left" not in line] == []


@contextlib.contextmanager
def _poor(proxy: ProxyProcess) -> Iterator[None]:
    """Give the proxy hardly more memory than it has."""
    with open(f"/proc/{proxy.pid}/statm", encoding="ascii") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.prlimit(proxy.pid, resource.RLIMIT_AS, (size + ALLOWED, -1))
    try:
        yield
    finally:
        resource.prlimit(proxy.pid, resource.RLIMIT_AS, before)


async def _says_much(strike: Strike) -> bool:
    await strike.visit.say(_head(strike.mark))
    block = content(strike.mark, BLOCK)
    for _ in range(SIZE // BLOCK):
        await strike.visit.say(block)
    return True


def _head(mark: str) -> bytes:
    return head("HTTP/1.1 200 OK", f"X-Mark: {mark}", f"Content-Length: {SIZE}")


async def _ask(on: Ground, path: str, stack: contextlib.AsyncExitStack) -> Reader:
    """Ask for much, and read nothing of it for now."""
    reader = await stack.enter_async_context(on.client(BUFFER))
    with contextlib.suppress(ConnectionError):
        await reader.wire.send(on.request(f"GET {path}"))
    return reader


async def _end(reader: Reader, path: str) -> str:
    """Read what comes of an answer; fail unless it belongs to its request, and comes at all."""
    mark = mark_of(path)
    wanted = _head(mark) + content(mark, BLOCK) * (SEEN // BLOCK)
    count = 0
    with contextlib.suppress(ConnectionError):
        while count < SEEN and (piece := await later(reader.piece())):
            if not count and piece.startswith(b"HTTP/1.1 50"):
                return "told"
            part = wanted[count : count + len(piece)]
            assert piece[: len(part)] == part, "bytes are missing, or another's"
            count += len(piece)
    return "goes on" if count >= SEEN else "cut"
