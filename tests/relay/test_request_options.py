"""The options of a request in X-Cmux-Wait, -Host-Override and -Scheme; without sockets."""

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.errors import RouteRefused
from cmux_proxy.relay.request_options import RequestOptions
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

PORT = (b"x-cmux-port-internal", b"80")
ROUTE = "X-Cmux-Port-Internal: 80"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"30", 30.0), (b"30s", 30.0), (b"0", 0.0), (b"250ms", 0.25), (b"2m", 120.0), (b"007s", 7.0)],
)
def test_a_wait_is_a_duration(value: bytes, seconds: float) -> None:
    assert RequestOptions((PORT, (b"x-cmux-wait", value))).wait == seconds


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"+1", b"1.5", b"1 s", b"s", b"1h", b"1e3", b"\xd9\xa1", b"1" * 10]
)
def test_a_malformed_wait_is_refused(value: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        RequestOptions(((b"x-cmux-wait", value),))
    assert caught.value.status == 400
    assert caught.value.text == "invalid header: X-Cmux-Wait must be a duration such as 30s"


def test_two_waits_are_refused() -> None:
    with pytest.raises(RouteRefused, match="given more than once: X-Cmux-Wait"):
        RequestOptions(((b"x-cmux-wait", b"1"), PORT, (b"x-cmux-wait", b"1")))


def test_without_fields_there_are_no_options() -> None:
    assert RequestOptions((PORT,)).wait is None
    assert RequestOptions((PORT,)).host is None


@pytest.mark.parametrize("value", [b"a", b"App.example:3000", b"[::1]:80", b"127.0.0.1"])
def test_a_host_override_is_a_host(value: bytes) -> None:
    assert RequestOptions(((b"x-cmux-host-override", value), PORT)).host == value


@pytest.mark.parametrize("value", [b"", b"a b", b"a@b", b"a, b", b"a/b", b"a:b", b"a:80:80"])
def test_a_malformed_host_override_is_refused(value: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        RequestOptions(((b"x-cmux-host-override", value),))
    assert caught.value.status == 400
    assert caught.value.text.startswith("invalid header: X-Cmux-Host-Override must be a host")


def test_two_host_overrides_are_refused() -> None:
    with pytest.raises(RouteRefused, match="given more than once: X-Cmux-Host-Override"):
        RequestOptions(((b"x-cmux-host-override", b"a"), (b"x-cmux-host-override", b"a")))


def wait_of(timeouts: Timeouts, *lines: str) -> float:
    """Return how many seconds a request waits while its port refuses."""
    world = World(Config(timeouts=timeouts))
    client = world.client()
    client.arrives(head("GET / HTTP/1.1", *lines))
    return refused_for(world, client)


def refused_for(world: World, client: FakeStream) -> float:
    """Refuse every dial until the client has a response; return after how many seconds."""
    started = world.loop.now
    world.dial().fails()
    while not client.got:
        [(when, _)] = world.loop.timers
        world.loop.now = when
        world.loop.ring()
        world.dial().fails()
    assert client.got.startswith(b"HTTP/1.1 502 ")
    return world.loop.now - started


def test_the_wait_depends_on_the_configuration_and_the_request() -> None:
    retrying = Timeouts(connect_retry=3)
    assert wait_of(Timeouts(), "Host: a", ROUTE) == pytest.approx(0)
    assert wait_of(retrying, "Host: a", ROUTE) == pytest.approx(3)
    assert wait_of(retrying, "Host: a", ROUTE, "X-Cmux-Wait: 10s") == pytest.approx(10)
    assert wait_of(retrying, "Host: a", "X-Cmux-Wait: 0", ROUTE) == pytest.approx(0)
    assert wait_of(retrying, "Host: a", ROUTE, "X-Cmux-Wait: 5m") == pytest.approx(60)
    assert wait_of(Timeouts(max_wait=5), "Host: a", ROUTE, "X-Cmux-Wait: 10") == pytest.approx(5)
    assert wait_of(
        Timeouts(connect_retry=3, max_wait=0), "Host: a", ROUTE, "X-Cmux-Wait: 9"
    ) == pytest.approx(3)


def test_a_wait_without_another_field_of_the_proxy_counts() -> None:
    from cmux_proxy import Router

    world = World()
    world.services.router = Router("h", None, ["localhost"])
    client = world.client()
    client.arrives(head("GET / HTTP/1.1", "Host: 80.localhost", "X-Cmux-Wait: 7"))
    assert refused_for(world, client) == pytest.approx(7)


def test_a_half_close_ends_the_wait() -> None:
    world = World()
    client = world.client()
    client.arrives(head("GET / HTTP/1.1", "Host: a", ROUTE, "X-Cmux-Wait: 10s"))
    world.dial().fails()
    client.ends()
    assert refused_for(world, client) == 0


@pytest.mark.parametrize(("value", "scheme"), [(b"http", "http"), (b"https", "https")])
def test_a_scheme_is_one_of_two(value: bytes, scheme: str) -> None:
    assert RequestOptions(((b"x-cmux-scheme", value), PORT)).scheme == scheme
    assert RequestOptions((PORT,)).scheme is None


@pytest.mark.parametrize("value", [b"", b"HTTPS", b"h2", b"http,https", b"https://"])
def test_another_scheme_is_refused(value: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        RequestOptions(((b"x-cmux-scheme", value),))
    assert caught.value.status == 400
    assert caught.value.text == "invalid header: X-Cmux-Scheme must be http or https"


def test_two_schemes_are_refused() -> None:
    with pytest.raises(RouteRefused, match="given more than once: X-Cmux-Scheme"):
        RequestOptions(((b"x-cmux-scheme", b"http"), (b"x-cmux-scheme", b"http")))


def test_a_protocol_is_http2() -> None:
    assert RequestOptions(((b"x-cmux-protocol", b"h2c"), PORT)).wants_http2
    assert not RequestOptions((PORT,)).wants_http2


@pytest.mark.parametrize("value", [b"", b"h2", b"H2C", b"http/1.1"])
def test_another_protocol_is_refused(value: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        RequestOptions(((b"x-cmux-protocol", value),))
    assert caught.value.text == "invalid header: X-Cmux-Protocol must be h2c"


def test_two_protocols_are_refused() -> None:
    with pytest.raises(RouteRefused, match="given more than once: X-Cmux-Protocol"):
        RequestOptions(((b"x-cmux-protocol", b"h2c"), (b"x-cmux-protocol", b"h2c")))
