"""A port that does not listen yet: the dial is repeated until it does, or until a timeout."""

import asyncio
import socket

import pytest

from cmux_proxy import Config, Target, Timeouts
from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.upstream.connector import Connector
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, UPGRADE, Peer, Stage, get, head, stage
from tests.helpers.timing import MS, later
from tests.helpers.wire import WireListener

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)
REQUESTS = {"plain": get(), "upgrade": UPGRADE, "connect": CONNECT}
RETRYING = local_config(timeouts=Timeouts(connect_retry=3600))
WAIT = "X-Cmux-Wait: 60s"


class Refusals:
    """`seen` is set when a dial has been refused."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()


REFUSALS = Refusals()


@pytest.fixture(autouse=True)
def _watch_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    open_socket = Connector.open_socket

    async def watched(self: Connector, target: Target, timeout: float | None) -> socket.socket:
        try:
            return await open_socket(self, target, timeout)
        except UpstreamUnavailable as error:
            if error.reason == UnavailableReason.REFUSED:
                REFUSALS.seen.set()
            raise

    monkeypatch.setattr(Connector, "open_socket", watched)


async def refused_once(on: Stage, request: bytes) -> Peer:
    """Close the upstream and send a request; return the client after the first refused dial."""
    on.listener.close()
    REFUSALS.seen = asyncio.Event()
    client = await on.client()
    await client.says(request)
    await later(REFUSALS.seen.wait())
    return client


async def reopen(on: Stage, host: str = "127.0.0.1") -> None:
    on.listener = WireListener(host, on.port)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_that_opens_before_the_timeout_is_reached(name: str, host: str) -> None:
    async with stage(RETRYING) as on:
        client = await refused_once(on, REQUESTS[name])
        await reopen(on, host)
        upstream = await on.upstream()
        if name == "connect":
            await client.gets(ESTABLISHED)
        else:
            await upstream.gets(REQUESTS[name].replace(ROUTE.encode() + b"\r\n", b""))


async def test_x_cmux_wait_repeats_the_dial() -> None:
    async with stage() as on:
        client = await refused_once(on, get("/", WAIT))
        await reopen(on)
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        await upstream.says(OK)
        await client.gets(OK)


@pytest.mark.parametrize(
    "config",
    [
        local_config(),
        local_config(timeouts=Timeouts(connect_retry=60 * MS)),
        local_config(timeouts=Timeouts(max_wait=0)),
    ],
    ids=["by default", "after the timeout", "with max_wait 0"],
)
async def test_without_retries_or_time_a_refused_dial_gets_502(config: Config) -> None:
    lines = [WAIT] if config.timeouts.max_wait == 0 else []
    async with stage(config) as on:
        client = await refused_once(on, get("/", *lines))
        await client.gets_error(502, "connection_refused")


async def test_the_body_waits_for_the_port_too() -> None:
    async with stage(RETRYING) as on:
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 200000")
        client = await refused_once(on, post + b"x" * 100)
        sending = asyncio.get_running_loop().create_task(client.wire.send(b"y" * 199_900))
        await reopen(on)
        upstream = await on.upstream()
        await upstream.gets_head()
        assert await upstream.gets_bytes(200_000) == b"x" * 100 + b"y" * 199_900
        await sending


@pytest.mark.parametrize("disconnect", ["resets", "closes"])
async def test_a_client_that_disconnects_ends_the_retries(disconnect: str) -> None:
    async with stage(RETRYING) as on:
        client = await refused_once(on, get())
        getattr(client, disconnect)()
        # The drain waits for all connections.
        await later(on.proxy.drain(3600))


async def test_a_half_close_ends_the_retries_with_502() -> None:
    async with stage(RETRYING) as on:
        client = await refused_once(on, get())
        client.ends()
        await client.gets_error(502, "connection_refused")


async def test_only_refused_dials_are_repeated() -> None:
    config = local_config(timeouts=Timeouts(connect_retry=3600), upstream_host="x.invalid")
    async with stage(config) as on:
        client = await on.client()
        await client.says(get())
        await client.gets_error(502, "dns_error")
