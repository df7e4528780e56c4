"""What exchanges and tunnels report to the observer, for every outcome."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from cmux_proxy import Access, Config, Limits, Router, Timeouts
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.observe.record import Record
from cmux_proxy.observe.traffic_stats import TrafficStats
from tests.helpers.fakes import World
from tests.helpers.script import head
from tests.helpers.tunnel_frames import binary, closing, masked
from tests.helpers.tunnel_frames import request as tunnel_request

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET /a?secret=1 HTTP/1.1", "Host: a", ROUTE)
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
UPGRADE = head("GET /ws HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: b")
SWITCH = head("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: b")
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)


class ObservedWorld:
    """A world whose observer keeps the records."""

    def __init__(self, config: Config | None = None) -> None:
        self.records: list[Record] = []
        self.observer = Observer(True, on_record=self.records.append)
        self.world = World(config, self.observer)
        self.world.peer = "192.0.2.7"

    def only(self) -> Record:
        """Return the only record."""
        [record] = self.records
        return record

    def series(self) -> list[tuple[Any, ...]]:
        """Return kind, method and status of each series, and its numbers of durations."""
        return [
            (*key, series.durations.count(), series.first_bytes.count())
            for key, series in TrafficStats.of(self.observer.counts).series.items()
        ]


def test_a_request_is_reported_when_its_response_has_been_sent() -> None:
    on = ObservedWorld()
    _, upstream = on.world.ask(GET)
    port = on.observer.ports.of(("127.0.0.1", 80))
    assert (port.requests, on.records) == (1, [])
    upstream.arrives(OK)
    record = on.only()
    assert (record.client, record.kind, record.method, record.path) == (
        "192.0.2.7", "request", "GET", "/a",
    )  # fmt: skip
    assert (record.status, record.host, record.port) == (200, "127.0.0.1", 80)
    assert (record.received, record.sent) == (len(GET), len(OK))
    assert record.started <= record.first_byte <= record.ended
    assert (record.error, record.outcome, record.is_reused) == ("", Outcome.COMPLETE, False)
    assert on.series() == [("request", "GET", 200, 1, 1)]
    assert port.is_idle()
    assert (port.received, port.sent) == (len(GET), len(OK))
    counts = on.observer.counts
    assert (counts.received, counts.sent, counts.reused) == (len(GET), len(OK), 0)
    assert sum(counts.connects.buckets()) == 1


@pytest.mark.parametrize(
    ("late", "ended"),
    [
        pytest.param([], 2.0, id="response in one read"),
        pytest.param(["upstream"], 3.0, id="response in two reads"),
        pytest.param(["client"], 3.0, id="response before the body"),
    ],
)
def test_the_clock_is_read_when_bytes_have_arrived(late: list[str], ended: float) -> None:
    on = ObservedWorld()
    clock = itertools.count(1)
    on.observer.clock = lambda: float(next(clock))
    request = head("POST /a HTTP/1.1", "Host: a", ROUTE, "Content-Length: 2")
    client, upstream = on.world.ask(request + (b"" if "client" in late else b"hi"))
    upstream.arrives(OK[:-1] if "upstream" in late else OK)
    for peer in late:
        (client if peer == "client" else upstream).arrives(b"hi" if peer == "client" else b"k")
    record = on.only()
    assert (record.started, record.first_byte, record.ended) == (1.0, 2.0, ended)


def test_a_second_request_reports_a_reused_connection() -> None:
    on = ObservedWorld()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.arrives(OK)
    assert [record.is_reused for record in on.records] == [False, True]
    assert on.observer.counts.reused == 1


@pytest.mark.parametrize("cut", [0, 1, 5, 9])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bytes_of_bodies_are_counted_and_those_of_the_next_request_are_not(
    cut: int, is_chunked: bool
) -> None:
    on = ObservedWorld()
    framing = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 10"
    body = b"5\r\nhello\r\n0\r\n\r\n" if is_chunked else b"0123456789"
    request = head("POST / HTTP/1.1", "Host: a", ROUTE, framing)
    response = head("HTTP/1.1 200 OK", framing)
    client, upstream = on.world.ask(request + body[:cut])
    client.arrives(body[cut:] + GET)
    upstream.arrives(response + body[:cut])
    upstream.arrives(body[cut:])
    assert (on.records[0].received, on.records[0].sent) == (
        len(request) + len(body), len(response) + len(body),
    )  # fmt: skip


def test_an_error_response_of_the_proxy_is_reported_with_its_error() -> None:
    on = ObservedWorld()
    client = on.world.client()
    client.arrives(GET)
    on.world.dial().fails()
    record = on.only()
    assert (record.status, record.error, record.port) == (502, "connection_refused", 80)
    assert (record.outcome, record.first_byte, record.sent) == (Outcome.UNAVAILABLE, 0.0, 0)
    assert on.observer.counts.errors == {(502, "connection_refused"): 1}
    assert on.observer.ports.of(("127.0.0.1", 80)).errors == 1
    assert list(on.observer.recent) == [record]
    assert client.got.startswith(b"HTTP/1.1 502 ")


def test_a_request_without_a_route_has_no_port() -> None:
    on = ObservedWorld()
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    record = on.only()
    assert (record.status, record.port, record.upstream()) == (400, 0, "")
    assert on.observer.ports.all() == {}


@pytest.mark.parametrize("request_", [b"GET\r\n\r\n", b"GET / HTTP/1.1\r\na b\r\n\r\n"])
def test_a_malformed_request_is_reported_without_its_bytes(request_: bytes) -> None:
    on = ObservedWorld()
    on.world.client().arrives(request_)
    record = on.only()
    assert (record.client, record.method, record.path) == ("192.0.2.7", "", "")
    assert (record.status, record.error, record.outcome) == (
        400, "http_request_error", Outcome.REFUSED,
    )  # fmt: skip
    assert on.observer.counts.errors == {(400, "http_request_error"): 1}


def test_a_head_timeout_and_a_refused_address_are_reported() -> None:
    on = ObservedWorld(Config(timeouts=Timeouts(head=1)))
    on.world.client().arrives(b"GET /")
    on.world.walk(2)
    assert on.only().status == 408
    other = ObservedWorld(Config(access=Access(allow_clients=["10.0.0.0/8"])))
    other.world.client()
    assert (other.only().status, other.only().error) == (403, "http_request_denied")


ENDS: dict[str, tuple[Callable[[Any, Any], object], int, str, Outcome]] = {
    "client disconnects": (lambda c, _: c.breaks(), 200, "", Outcome.CLIENT_GONE),
    "upstream ends": (
        lambda _, u: u.ends(), 200, "http_response_incomplete", Outcome.BROKEN_OFF,
    ),
    "upstream breaks": (
        lambda _, u: u.breaks(), 200, "http_response_incomplete", Outcome.BROKEN_OFF,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("event", "status", "error", "outcome"), ENDS.values(), ids=ENDS)
def test_an_incomplete_response_is_reported_as_broken_off(
    event: Callable[[Any, Any], object], status: int, error: str, outcome: Outcome
) -> None:
    on = ObservedWorld()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK[:-1])
    event(client, upstream)
    on.world.run()
    record = on.only()
    assert (record.status, record.error, record.outcome) == (status, error, outcome)
    assert record.sent == len(OK) - 1
    assert on.observer.ports.of(("127.0.0.1", 80)).is_idle()


def test_a_stalled_response_is_reported_with_its_timeout() -> None:
    on = ObservedWorld(Config(timeouts=Timeouts(response_idle=1)))
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK[:-1])
    on.world.walk(2)
    assert (on.only().error, on.only().outcome) == (
        "http_response_timeout", Outcome.BROKEN_OFF,
    )  # fmt: skip


def test_a_client_that_disconnects_before_the_response_is_reported_with_499() -> None:
    on = ObservedWorld()
    client, _ = on.world.ask(GET)
    client.breaks()
    on.world.run()
    assert (on.only().status, on.only().outcome) == (499, Outcome.CLIENT_GONE)
    assert on.series() == [("request", "GET", 499, 1, 0)]


def test_a_retried_request_is_one_request() -> None:
    on = ObservedWorld()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.breaks()
    on.world.run()
    on.world.dial().succeeds().arrives(OK)
    assert [record.is_reused for record in on.records] == [False, False]
    assert (on.observer.counts.retried, on.observer.counts.reused) == (1, 0)
    assert on.observer.ports.of(("127.0.0.1", 80)).count == 2


@pytest.mark.parametrize("kind", ["upgrade", "connect"])
def test_a_tunnel_is_reported_when_it_has_closed(kind: str) -> None:
    on = ObservedWorld()
    client, upstream = on.world.ask(UPGRADE if kind == "upgrade" else CONNECT)
    if kind == "upgrade":
        upstream.arrives(SWITCH)
    port = on.observer.ports.of(("127.0.0.1", 80))
    assert (on.records, port.requests, port.tunnels) == ([], 0, 1)
    status, method = (101, "GET") if kind == "upgrade" else (200, "CONNECT")
    assert on.series() == [(kind, method, status, 1, 1)]
    on.world.walk(7)
    client.arrives(b"12345")
    upstream.arrives(b"123")
    [tunnel] = on.world.services.registry.tunnels
    assert tunnel.moved() == (5, 3)  # type: ignore[attr-defined]
    upstream.breaks()
    on.world.run()
    record = on.only()
    assert (record.kind, record.method, record.status) == (kind, method, status)
    assert (record.outcome, record.first_byte > 0) == (Outcome.TUNNELLED, True)
    assert record.received == 5 + len(UPGRADE if kind == "upgrade" else CONNECT)
    assert record.sent == 3 + (len(SWITCH) if kind == "upgrade" else 0)
    assert (port.tunnels, port.last_byte) == (0, on.world.loop.now)
    counts = on.observer.counts
    assert (counts.received, counts.sent) == (record.received, record.sent)


def test_a_tunnel_inside_a_websocket_is_reported_as_one_of_connect() -> None:
    on = ObservedWorld()
    request = tunnel_request("/.cmux/tcp/80", "X-Cmux-Workspace-Internal: ws-1")
    client, upstream = on.world.ask(request + binary(b"early"))
    assert on.series() == [("connect", "GET", 101, 1, 1)]
    client.arrives(binary(b"12345") + masked(closing()))
    upstream.arrives(b"123")
    upstream.ends()
    on.world.run()
    record = on.only()
    assert (record.kind, record.method, record.status) == ("connect", "GET", 101)
    assert (record.path, record.port, record.workspace) == ("/.cmux/tcp/80", 80, "ws-1")
    assert record.outcome == Outcome.TUNNELLED
    # The bytes of the tunnel, without their frames.
    assert (record.received, record.sent) == (len(request) + 10, 3)


@pytest.mark.parametrize("kind", ["upgrade", "connect"])
def test_early_bytes_of_a_tunnel_are_counted(kind: str) -> None:
    on = ObservedWorld()
    request = UPGRADE if kind == "upgrade" else CONNECT
    client, upstream = on.world.ask(request + b"early")
    response = SWITCH + b"too" if kind == "upgrade" else b"too"
    upstream.arrives(response)
    client.breaks()
    on.world.run()
    record = on.only()
    assert (record.received, record.sent) == (len(request) + 5, len(response))
    counts = on.observer.counts
    assert (counts.received, counts.sent) == (record.received, record.sent)


def test_the_bytes_of_interim_responses_are_counted() -> None:
    on = ObservedWorld()
    _, upstream = on.world.ask(GET)
    hints = head("HTTP/1.1 103 E", "Link: </a>")
    upstream.arrives(hints)
    upstream.arrives(hints + OK)
    assert on.only().sent == 2 * len(hints) + len(OK)


def test_response_bytes_update_the_last_activity_of_a_port() -> None:
    on = ObservedWorld()
    _, upstream = on.world.ask(GET)
    upstream.arrives(head("HTTP/1.1 200 OK"))
    on.world.walk(5)
    upstream.arrives(b"more")
    assert on.observer.ports.of(("127.0.0.1", 80)).last_byte == on.world.loop.now


@pytest.mark.parametrize(
    ("request_", "workspace"),
    [
        (head("GET / HTTP/1.1", "Host: a", ROUTE, "X-Cmux-Workspace-Internal: d/ws-1"), "ws-1"),
        (head("GET / HTTP/1.1", "Host: ws-1-80.localhost"), "ws-1"),
        (head("GET http://ws-1-80.localhost/ HTTP/1.1", "Host: ws-1-80.localhost"), "ws-1"),
        (head("GET / HTTP/1.1", "Host: ws-1-80.localhost", ROUTE), "ws-1"),
        (head("CONNECT ws-1-80.localhost:1 HTTP/1.1", "Host: ws-1-80.localhost:1", ROUTE), ""),
        (GET, ""),
    ],
)
def test_a_workspace_is_reported_for_every_way_to_name_it(request_: bytes, workspace: str) -> None:
    on = ObservedWorld()
    client, _ = on.world.ask(request_)
    client.breaks()
    on.world.run()
    assert on.only().workspace == workspace
    [port] = on.observer.ports.all().values()
    assert port.workspace == workspace


class LongNameRouter(Router):
    """Returns a workspace with a long name."""

    def workspace_of(self, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]) -> str:
        """Return a name that is too long."""
        return "w" * 60_000


def test_long_values_of_a_client_are_truncated() -> None:
    on = ObservedWorld(Config(limits=Limits(request_line=100_000)))
    on.observer.wants_trace = True
    on.world.services.router = LongNameRouter("127.0.0.1")
    method, path = "M" * 20_000, "/" + "p" * 60_000
    trace = f"traceparent: 00-{'a' * 60_000}"
    client, _ = on.world.ask(head(f"{method} {path} HTTP/1.1", "Host: a", ROUTE, trace))
    [port] = on.observer.ports.all().values()
    client.breaks()
    on.world.run()
    record = on.only()
    assert record.method == "M" * 61 + "..."
    assert record.path == "/" + "p" * 2044 + "..."
    assert record.workspace == port.workspace == "w" * 252 + "..."
    assert record.trace == ""


def test_a_trace_is_reported_unchanged() -> None:
    on = ObservedWorld()
    on.observer.wants_trace = True
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    _, upstream = on.world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE, f"traceparent: {trace}"))
    upstream.arrives(OK)
    assert on.only().trace == trace


def test_an_observer_of_errors_gets_errors_only() -> None:
    records: list[Record] = []
    world = World(None, Observer(False, on_error=records.append))
    client, upstream = world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.arrives(b"nonsense\r\n\r\n")
    assert [(record.status, record.error) for record in records] == [(502, "http_protocol_error")]
    assert records[0].ended > records[0].started > 0
