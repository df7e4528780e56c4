"""Timeouts, short and in real time (contract, section 6).

tests/net/test_timers.py and tests/downstream/test_http1_connection.py test them in detail, with a
fake clock.
"""

import asyncio

import pytest

from cmux_proxy import Timeouts
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.net.flow_control import PEER_FULL
from tests.helpers.proxies import local_config
from tests.helpers.script import ROUTE, UPGRADE, Stage, get, head, stage
from tests.helpers.timing import MS
from tests.helpers.wire import deaf_port
from tests.network.test_back_pressure import SMALL, upload

SHORT = 50 * MS
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.fixture(autouse=True)
def _quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check deadlines every 20 ms instead of every half second."""
    monkeypatch.setattr("cmux_proxy.net.timers.TICK", 20 * MS)


@pytest.mark.parametrize(
    "part",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX-Cmux"],
    ids=["one byte", "a request line", "a part of a field"],
)
async def test_an_incomplete_head_gets_408(part: bytes) -> None:
    async with stage(local_config(timeouts=Timeouts(head=SHORT))) as on:
        client = await on.client()
        await client.says(part)
        text = await client.gets_error(408, "http_request_error", closes=True)
        assert text == "the request head did not arrive in time"
        await on.nothing_reached_upstream()


async def test_the_second_head_of_a_connection_has_a_timeout_too() -> None:
    async with stage(local_config(timeouts=Timeouts(head=SHORT))) as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        await client.says(b"GET ")
        await client.gets_error(408, "http_request_error", closes=True)


async def test_a_connection_that_sends_nothing_is_closed_without_a_response() -> None:
    async with stage(local_config(timeouts=Timeouts(idle=SHORT))) as on:
        client = await on.client()
        assert await client.gets_cut() == b""


async def test_a_connection_that_is_idle_after_a_response_is_closed() -> None:
    async with stage(local_config(timeouts=Timeouts(idle=SHORT))) as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        assert await client.gets_cut() == b""


@pytest.mark.parametrize("request_bytes", [get(), UPGRADE], ids=["GET", "upgrade"])
async def test_a_response_that_does_not_start_in_time_is_a_504(request_bytes: bytes) -> None:
    async with stage(local_config(timeouts=Timeouts(response=SHORT))) as on:
        client, upstream = await on.pair(request_bytes)
        await upstream.gets_head()
        text = await client.gets_error(504, "http_response_timeout")
        assert text == f"127.0.0.1:{on.port} did not answer in time"
        assert await upstream.gets_cut() == b""
        await on.nothing_reached_upstream()


async def test_an_interim_response_does_not_end_the_response_timeout() -> None:
    async with stage(local_config(timeouts=Timeouts(response=SHORT))) as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 102 Processing"))
        await client.gets(head("HTTP/1.1 102 Processing"))
        await client.gets_error(504, "http_response_timeout")


async def test_a_response_that_has_started_has_no_timeout_by_default() -> None:
    config = local_config(timeouts=Timeouts(response=SHORT, idle=SHORT, head=SHORT))
    async with stage(config) as on:
        slow, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 2"))
        await slow.gets(head("HTTP/1.1 200 OK", "Content-Length: 2"))
        # The timeout of another client expires twice meanwhile.
        for _ in range(2):
            other, silent = await on.pair()
            await other.gets_error(504, "http_response_timeout")
            assert await silent.gets_cut() == b""
            other.closes()
        await upstream.says(b"ok")
        await slow.gets(b"ok")


POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4")
SENT = head("POST / HTTP/1.1", "Host: a", "Content-Length: 4")


async def test_a_body_without_progress_gets_408() -> None:
    async with stage(local_config(timeouts=Timeouts(body=SHORT))) as on:
        client, upstream = await on.pair(POST)
        await upstream.gets(SENT)
        text = await client.gets_error(408, "http_request_error", closes=True)
        assert text == "the request body did not arrive in time"
        assert await upstream.gets_cut() == b""


async def test_progress_of_a_body_restarts_its_timeout() -> None:
    async with stage(local_config(timeouts=Timeouts(body=1000))) as on:
        client, upstream = await on.pair(POST)
        await upstream.gets(SENT)
        ticker = on.proxy.services.ticker
        for byte in (b"b", b"o", b"d"):
            ticker.walk(ticker.now + 900)
            await client.says(byte)
            await upstream.gets(byte)
        await client.says(b"y")
        await upstream.gets(b"y")
        # From now on the proxy waits for the response, which has no timeout.
        ticker.walk(ticker.now + 1e9)
        await upstream.says(OK)
        await client.gets(OK)


async def pass_time_while_upstream_is_full(on: Stage, until: "asyncio.Task[str]") -> None:
    """Let the body timeout pass, again and again, whenever the upstream takes no more bytes."""
    services = on.proxy.services
    [client] = services.registry.clients
    assert isinstance(client, Http1Connection)
    while not until.done():
        if client.reading.is_stopped_for(PEER_FULL):
            services.ticker.walk(services.ticker.now + 1001)
        await asyncio.sleep(0)


async def test_an_upstream_that_does_not_read_the_body_is_a_504() -> None:
    async with stage(local_config(timeouts=Timeouts(body=1000)), buffer=SMALL) as on:
        client, upstream = await upload(on, "Content-Length: 1000000000")
        loop = asyncio.get_running_loop()
        sending = loop.create_task(client.says_until_cut(bytes(range(256)) * 256))
        error = loop.create_task(client.gets_error(504, "connection_write_timeout", closes=True))
        await pass_time_while_upstream_is_full(on, error)
        text = await error
        assert text == f"127.0.0.1:{on.port} did not read the request body in time"
        upstream.ignores_more()
        # Nothing reads the remaining bytes, so sending them never ends.
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        client.closes()


async def test_progress_of_the_response_restarts_the_timeout_of_an_incomplete_body() -> None:
    async with stage(local_config(timeouts=Timeouts(body=1000))) as on:
        client, upstream = await on.pair(POST)
        await upstream.gets(SENT)
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 9"))
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 9"))
        ticker = on.proxy.services.ticker
        for byte in (b"a", b"b", b"c"):
            ticker.walk(ticker.now + 900)
            await upstream.says(byte)
            await client.gets(byte)
        ticker.walk(ticker.now + 1001)
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


async def test_a_response_body_without_progress_is_cut() -> None:
    async with stage(local_config(timeouts=Timeouts(response_idle=SHORT))) as on:
        client, upstream = await on.pair()
        await upstream.says(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"bo")
        await client.gets(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"bo")
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""
        await on.nothing_reached_upstream()


async def test_a_tunnel_that_is_idle_in_both_directions_is_dropped() -> None:
    async with stage(local_config(timeouts=Timeouts(tunnel=SHORT))) as on:
        for client, upstream in (await on.tunnel(), await on.websocket()):
            assert await client.gets_cut() == b""
            assert await upstream.gets_cut() == b""


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_bytes_in_either_direction_restart_the_timeout_of_a_tunnel(up: bool) -> None:
    async with stage(local_config(timeouts=Timeouts(tunnel=1000))) as on:
        client, upstream = await on.tunnel()
        sender, reader = (client, upstream) if up else (upstream, client)
        ticker = on.proxy.services.ticker
        for byte in (b"a", b"b", b"c"):
            ticker.walk(ticker.now + 900)
            await sender.says(byte)
            await reader.gets(byte)
        ticker.walk(ticker.now + 1001)
        assert await client.gets_cut() == b""
        assert await upstream.gets_cut() == b""


async def test_an_upstream_that_does_not_accept_the_connection_is_a_504() -> None:
    async with deaf_port() as port, stage(local_config(timeouts=Timeouts(connect=SHORT))) as on:
        client = await on.client()
        await client.says(get().replace(b"<port>", b"%d" % port))
        text = await client.gets_error(504, "connection_timeout")
        assert text == f"no connection to 127.0.0.1:{port} within {SHORT:g} s"
        await client.says(get())
        await (await on.upstream()).gets(head("GET / HTTP/1.1", "Host: a"))


async def test_after_an_error_a_client_that_does_not_close_is_dropped() -> None:
    async with stage(local_config(timeouts=Timeouts(linger=SHORT))) as on:
        client = await on.client()
        await client.says(head("POST / HTTP/1.1", "Host: a", "Content-Length: 10"))
        await client.gets_error(400, "http_request_error", closes=True)
        # The drain ends when the proxy has dropped the connection.
        await on.proxy.drain()
        client.closes()


async def test_after_an_error_a_client_that_keeps_sending_is_dropped() -> None:
    async with stage(local_config(timeouts=Timeouts(linger=SHORT))) as on:
        client = await on.client()
        await client.says(head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"))
        await client.gets_error(400, "http_request_error", closes=True)
        await client.says_until_cut(b"1\r\nx\r\n")
        client.closes()


async def test_an_idle_upstream_connection_is_closed_after_its_timeout() -> None:
    async with stage(local_config(timeouts=Timeouts(upstream_idle=SHORT))) as on:
        client, upstream = await on.pair()
        await upstream.says(OK)
        await client.gets(OK)
        await upstream.gets_end()
        await client.says(get("/2"))
        await (await on.upstream()).gets(head("GET /2 HTTP/1.1", "Host: a"))


async def test_a_timeout_that_is_not_set_never_expires() -> None:
    config = local_config(timeouts=Timeouts(head=None, idle=None, response=None))
    async with stage(config) as on:
        client = await on.client()
        await client.says(b"GET / HTTP/1.1\r\n")
        ticker = on.proxy.services.ticker
        ticker.walk(ticker.now + 1e9)
        await client.says(head("Host: a", ROUTE))
        upstream = await on.upstream()
        await upstream.gets(head("GET / HTTP/1.1", "Host: a"))
        ticker.walk(ticker.now + 1e9)
        await upstream.says(OK)
        await client.gets(OK)
        ticker.walk(ticker.now + 1e9)
        await client.says(get("/2"))
