"""The system has no more files, memory or watches: new connections suffer, and nothing else."""

import contextlib
import errno
import sys
from pathlib import Path

import pytest

from tests.helpers.failing_calls import FailingCalls
from tests.helpers.loops import loop_settings
from tests.helpers.proxies import is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, WireListener

pytestmark = [
    pytest.mark.hosting,
    pytest.mark.skipif(sys.platform != "linux", reason="needs epoll, and preloads a library"),
]

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.mark.parametrize(
    ("listen", "error"), [("tcp", errno.ENFILE), ("unix", errno.ENOMEM)], ids=["tcp", "unix"]
)
async def test_clients_wait_while_the_system_has_no_file_or_memory(
    loop_name: str, listen: str, error: int, tmp_path: Path
) -> None:
    if (loop_name, listen) == ("uvloop", "tcp"):
        pytest.skip("uvloop accepts without the library of C")
    calls = FailingCalls(tmp_path)
    flags = ["--listen", f"unix:{tmp_path}/s"] if listen == "unix" else []

    async def connect() -> Wire:
        if listen == "unix":
            return await Wire.to_path(f"{tmp_path}/s")
        return await Wire.to("127.0.0.1", proxy.port)

    async with proxy_process(loop_name, *flags, variables=calls.variables) as proxy:
        with await connect() as first:
            await is_served(first)
            calls.fail("accept4", error)
            with await connect() as second:
                calls.await_failure("accept4")
                # It does not try again and again.
                await proxy.wait_until_asleep()
                await is_served(first)
                assert second.take_arrived() == b""
                calls.work("accept4")
                await is_served(second)
        await proxy.stop()


async def test_connections_are_lost_while_the_system_watches_no_more_of_them(
    loop_name: str, tmp_path: Path
) -> None:
    if loop_settings(loop_name)["no_native_io"]:
        pytest.skip("what asyncio and uvloop do then is their affair")
    calls = FailingCalls(tmp_path)
    with contextlib.closing(WireListener()) as listener:
        request = head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {listener.port}")
        async with proxy_process(loop_name, variables=calls.variables) as proxy:
            with await Wire.to("127.0.0.1", proxy.port) as first:
                await is_served(first)
                calls.fail("epoll_ctl", errno.ENOSPC)
                with await Wire.to("127.0.0.1", proxy.port) as second:
                    assert await soon(second.receive_all()) == b""
                await first.send(request)
                assert (await later(first.receive())).startswith(b"HTTP/1.1 502 ")
                with await soon(listener.accept()) as upstream:
                    assert await soon(upstream.receive()) == b""
                calls.work("epoll_ctl")
                await first.send(request)
                with await soon(listener.accept()) as upstream:
                    assert await soon(upstream.receive()) == head("GET / HTTP/1.1", "Host: a")
                    await upstream.send(OK)
                    assert await soon(first.receive()) == OK
            await proxy.stop()
