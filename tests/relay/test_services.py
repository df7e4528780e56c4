"""What all exchanges of a worker share."""

import asyncio
import re
from email.utils import parsedate_to_datetime

import pytest

from cmux_proxy import Config, Limits, Router, Timeouts
from cmux_proxy.net.backends import AsyncioBackend
from cmux_proxy.relay.downstream import PIPELINE_LIMIT
from cmux_proxy.relay.services import Services
from tests.helpers.fakes import World
from tests.helpers.script import head


@pytest.mark.parametrize("is_asyncio", [True, False], ids=["asyncio", "uvloop"])
def test_only_transports_of_asyncio_have_a_read_size(is_asyncio: bool) -> None:
    loop = asyncio.new_event_loop() if is_asyncio else pytest.importorskip("uvloop").Loop()
    try:
        backend = AsyncioBackend(loop)
        services = Services(Config(), backend, Router("127.0.0.1"), lambda _host, _port: False, 0)
        assert services.read_size.has_attribute == is_asyncio
        assert services.read_size.max_bytes + PIPELINE_LIMIT == 256 * 1024
    finally:
        loop.close()


def test_the_date_is_an_imf_fixdate() -> None:
    date = World().services.date().decode("ascii")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert parsedate_to_datetime(date).utcoffset() is not None


def test_the_configured_limits_apply() -> None:
    limits = Limits(
        request_line=40, header_section=100, response_head=60, chunk_extensions=5, trailers=20
    )
    route = "X-Cmux-Port-Internal: 80"
    request = head("POST / HTTP/1.1", "Host: a", route, "Transfer-Encoding: chunked")
    for data in (
        head(f"GET /{'a' * 40} HTTP/1.1", "Host: a"),
        head("GET / HTTP/1.1", "Host: a", "A: " + "a" * 100),
        request + b"1;abcdef\r\n",
        request + b"0\r\nA: " + b"a" * 20 + b"\r\n\r\n",
    ):
        client = World(Config(limits=limits)).client()
        client.arrives(data)
        assert re.match(rb"HTTP/1\.1 (400|414|431) ", client.got)
    world = World(Config(limits=limits))
    client, upstream = world.ask(request)
    upstream.arrives(head("HTTP/1.1 200 OK", "A: " + "a" * 60))
    assert client.got.startswith(b"HTTP/1.1 502 ")


def test_the_configured_pool_size_and_timeouts_apply() -> None:
    config = Config(limits=Limits(idle_upstream_connections=0), timeouts=Timeouts(idle=1))
    world = World(config)
    client, upstream = world.ask(head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 80"))
    upstream.arrives(head("HTTP/1.1 204 No Content"))
    assert upstream.is_over()
    world.walk(1)
    assert client.is_over()
