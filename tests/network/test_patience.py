"""A port that does not listen yet: dialled again until it does, or time is up."""

import asyncio
import socket

import pytest

from cmux_proxy import Config, Target, Timeouts
from cmux_proxy.upstream.connector import Connector
from tests.helpers.proxies import local_config
from tests.helpers.script import ESTABLISHED, ROUTE, UPGRADE, Peer, Stage, get, head, stage
from tests.helpers.timing import MS, later
from tests.helpers.wire import WireListener

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)
KINDS = {"plain": get(), "upgrade": UPGRADE, "connect": CONNECT}
PATIENT = local_config(timeouts=Timeouts(connect_retry=3600))
WAIT = "X-Cmux-Wait: 60s"


class Refusals:
    """Tells when a dial has been refused."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()


REFUSALS = Refusals()


@pytest.fixture(autouse=True)
def _watch_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Connector._connect

    async def watched(self: Connector, target: Target, grace: float | None) -> socket.socket:
        try:
            return await connect(self, target, grace)
        except ConnectionRefusedError:
            REFUSALS.seen.set()
            raise

    monkeypatch.setattr(Connector, "_connect", watched)


async def refused_once(on: Stage, request: bytes) -> Peer:
    """Close the upstream, ask, and return the client once the proxy has been refused."""
    on.listener.close()
    REFUSALS.seen = asyncio.Event()
    client = await on.client()
    await client.says(request)
    await later(REFUSALS.seen.wait())
    return client


async def reopen(on: Stage, host: str = "127.0.0.1") -> None:
    on.listener = WireListener(host, on.port)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_that_opens_in_time_is_reached(kind: str, host: str) -> None:
    async with stage(PATIENT) as on:
        client = await refused_once(on, KINDS[kind])
        await reopen(on, host)
        upstream = await on.upstream()
        if kind == "connect":
            await client.gets(ESTABLISHED)
        else:
            await upstream.gets(KINDS[kind].replace(ROUTE.encode() + b"\r\n", b""))


async def test_a_request_may_ask_for_patience() -> None:
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
    ids=["not asked for", "time is up", "nobody may ask"],
)
async def test_patience_has_its_end(config: Config) -> None:
    lines = [WAIT] if config.timeouts.max_wait == 0 else []
    async with stage(config) as on:
        client = await refused_once(on, get("/", *lines))
        await client.gets_error(502, "connection_refused")


async def test_the_body_waits_with_its_request() -> None:
    async with stage(PATIENT) as on:
        post = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 200000")
        client = await refused_once(on, post + b"x" * 100)
        sending = asyncio.get_running_loop().create_task(client.wire.send(b"y" * 199_900))
        await reopen(on)
        upstream = await on.upstream()
        await upstream.gets_head()
        assert await upstream.gets_bytes(200_000) == b"x" * 100 + b"y" * 199_900
        await sending


@pytest.mark.parametrize("leave", ["resets", "closes"])
async def test_a_client_that_leaves_ends_the_waiting(leave: str) -> None:
    async with stage(PATIENT) as on:
        client = await refused_once(on, get())
        getattr(client, leave)()
        # The drain waits for whatever the client has left behind.
        await later(on.proxy.drain(3600))


async def test_a_client_that_ends_its_half_is_told_at_once() -> None:
    async with stage(PATIENT) as on:
        client = await refused_once(on, get())
        client.ends()
        await client.gets_error(502, "connection_refused")


async def test_only_a_refusal_is_waited_out() -> None:
    config = local_config(timeouts=Timeouts(connect_retry=3600), upstream_host="x.invalid")
    async with stage(config) as on:
        client = await on.client()
        await client.says(get())
        await client.gets_error(502, "dns_error")
