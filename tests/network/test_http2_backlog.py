"""A page of a hundred streams at once, from a service whose backlog has room for five."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from cmux_proxy import Proxy, workspace_ip
from tests.helpers.h2_peer import H2Peer, fields
from tests.helpers.proxies import local_config
from tests.helpers.script import head
from tests.helpers.timing import later
from tests.helpers.wire import WireListener
from tests.helpers.workspaces import holder_pid, listener_inside, need_namespaces, running

NAME: Final = "a-7"
ADDRESS: Final = workspace_ip(NAME)
STREAMS: Final = 100
RESPONSE: Final = head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok"


async def serve_one_by_one(listener: WireListener) -> None:
    """Accept a connection when the last one is closed, as http.server of Python does."""
    while True:
        with await listener.accept() as wire:
            if await wire.receive():
                await wire.send(RESPONSE)


@contextlib.asynccontextmanager
async def small_service() -> AsyncIterator[int]:
    """Run the service in the workspace; return its port."""
    listener = listener_inside(ADDRESS)
    listener.sock.listen(5)
    task = asyncio.get_running_loop().create_task(serve_one_by_one(listener))
    try:
        yield listener.port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listener.close()


def counter(registry: Path, name: str) -> int:
    """Return a counter of the kernel for the workspace alone."""
    text = Path(f"/proc/{holder_pid(registry)}/net/netstat").read_text("ascii")
    names, values = (line.split() for line in text.splitlines()[:2])
    return int(values[names.index(name)])


async def test_no_request_waits_for_the_kernel_to_try_again(registry: Path) -> None:
    """Dials that meet a full backlog are given up, so that no request waits a second for one."""
    need_namespaces()
    with running(NAME, "sleep", "600"):
        async with (
            small_service() as port,
            Proxy(local_config(upstream_host=ADDRESS)) as proxy,
        ):
            with await H2Peer.to(proxy.addresses[0].port) as client:
                await client.step()
                streams = [await client.ask(fields(port)) for _ in range(STREAMS)]
                responses = [await later(client.complete(stream)) for stream in streams]
        assert [(each.status, each.body) for each in responses] == [("200", b"ok")] * STREAMS
        assert counter(registry, "TCPSynRetrans") == 0
