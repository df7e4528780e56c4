"""A user's program, checked by mypy and never run: the public API as its types tell it."""

import asyncio
import socket
from typing import assert_type

from cmux_proxy import (
    Address,
    CmuxProxyError,
    Config,
    ConfigError,
    Limits,
    ListenError,
    Proxy,
    Router,
    RouteRefused,
    Target,
    Timeouts,
    UpstreamUnavailable,
    __version__,
    run,
)


class ByHost(Router):
    """Routes by the first label of Host, and by the port field where there is none."""

    def __init__(self, ports: dict[bytes, int]) -> None:
        super().__init__("127.0.0.1")
        self.ports = ports

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        """Return the target of a request."""
        if method == b"TRACE":
            raise RouteRefused(403, "TRACE is not served here", error="http_request_denied")
        label = (host or b"").partition(b".")[0]
        if label in self.ports:
            return Target("::1", self.ports[label])
        return super().route(method, host, fields)


async def embed() -> None:
    """Run a proxy for as long as a block lasts."""
    config = Config(
        listen=["127.0.0.1:0", "[::1]:0"],
        upstream_host="localhost",
        limits=Limits(header_fields=100, idle_upstream_connections=10),
        timeouts=Timeouts(connect=1, idle=None),
        loop="asyncio",
        log_level="warning",
        workers=2,
    )
    async with Proxy(config, ByHost({b"api": 3000})) as proxy:
        assert_type(proxy, Proxy)
        assert_type(proxy.addresses, list[Address])
        await asyncio.sleep(1)
        await proxy.drain()
        await proxy.drain(timeout=2.5)


async def start_and_close() -> None:
    """Run a proxy with the defaults, by hand."""
    proxy = Proxy()
    try:
        assert_type(await proxy.start(), None)
    except ListenError as error:
        assert_type(error.address, str)
        assert_type(error.reason, str)
    finally:
        assert_type(await proxy.close(), None)


async def start_on_a_socket() -> None:
    """Run a proxy on what somebody else has bound."""
    await Proxy().start([socket.create_server(("127.0.0.1", 0))])


def handle(error: CmuxProxyError) -> tuple[int, str]:
    """Look into each exception."""
    if isinstance(error, ConfigError):
        return 2, error.field + error.reason
    if isinstance(error, RouteRefused):
        return error.status, error.text + error.error
    if isinstance(error, UpstreamUnavailable):
        return int(error.retryable), error.text + error.reason.value
    return 1, str(error)


def main() -> None:
    """Serve until a signal comes."""
    address = Address.parse("127.0.0.1:8080")
    assert_type(address.host, str)
    assert_type(address.port, int)
    assert_type(Config().addresses(), list[Address])
    assert_type(Target("a", 1).authority(), str)
    version: str = __version__
    config = Config(listen=[str(address)])
    assert_type(run(config, on_start=told), int)
    run(config, on_start=lambda addresses, loop: print(version, addresses[0].port, loop))


def told(addresses: list[Address], loop: str) -> None:
    """Learn where the proxy listens."""
    print(loop, *addresses)


# What the types do not allow.
Config(listen=8080)  # type: ignore[arg-type]
Config(loop="trio")  # type: ignore[arg-type]
Config(unknown=1)  # type: ignore[call-arg]
Config().loop = "asyncio"  # type: ignore[misc]
Proxy(router=Target("a", 1))  # type: ignore[arg-type]
Target(host="a")  # type: ignore[call-arg]
