"""Where an allocation fails, the exchange that needed it is dropped, and only that.

A router that fails stands for any allocation. A limit on the address space would fail allocations
of CPython and of the event loop too, which may end the process (docs/development/faults.md).
"""

import asyncio
import contextlib
from typing import Any

from cmux_proxy import Proxy, Router, Target
from tests.helpers.proxies import local_config
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

OK = head("HTTP/1.1 204 No Content")
UNLUCKY = b"unlucky.example"


class WithoutMemory(Router):
    """Routes everything to one port, and fails for one host."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1")
        self.port = port

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        if host == UNLUCKY:
            raise MemoryError
        return Target("127.0.0.1", self.port)


def request(host: bytes) -> bytes:
    return head("GET / HTTP/1.1", f"Host: {host.decode()}")


async def test_without_memory_exchanges_are_dropped_and_the_proxy_goes_on() -> None:
    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    with contextlib.closing(WireListener()) as listener:
        async with Proxy(local_config(), WithoutMemory(listener.port)) as proxy:
            port = proxy.addresses[0].port
            with await Wire.to("127.0.0.1", port) as client:
                await client.send(request(b"lucky.example"))
                with await soon(listener.accept()) as upstream:
                    await upstream.send(OK[:9])
                    for number in range(1, 4):
                        with await Wire.to("127.0.0.1", port) as unlucky:
                            await unlucky.send(request(UNLUCKY))
                            assert await soon(unlucky.receive()) == b""
                        assert [type(error) for error in reported] == [MemoryError] * number
                    assert await soon(upstream.receive()) == request(b"lucky.example")
                    await upstream.send(OK[9:])
                    assert await soon(client.receive()) == OK
                    await client.send(request(b"lucky.example"))
                    assert await soon(upstream.receive()) == request(b"lucky.example")
                    await upstream.send(OK)
                    assert await soon(client.receive()) == OK
