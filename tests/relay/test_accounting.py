"""What exchanges and tunnels tell of themselves, whatever becomes of them."""

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

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET /a?secret=1 HTTP/1.1", "Host: a", ROUTE)
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
UPGRADE = head("GET /ws HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: b")
SWITCH = head("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: b")
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)


class Watched:
    """A world whose observer keeps what it is told."""

    def __init__(self, config: Config | None = None) -> None:
        self.told: list[Record] = []
        self.observer = Observer(True, on_record=self.told.append)
        self.world = World(config, self.observer)
        self.world.peer = "192.0.2.7"

    def only(self) -> Record:
        """Return the one record."""
        [record] = self.told
        return record

    def series(self) -> list[tuple[Any, ...]]:
        """Return kind, method, status and count of what was counted, and of first bytes."""
        return [
            (*key, series.durations.count(), series.first_bytes.count())
            for key, series in TrafficStats.of(self.observer.counts).series.items()
        ]


def test_a_request_is_told_when_its_answer_has_left() -> None:
    on = Watched()
    _, upstream = on.world.ask(GET)
    port = on.observer.ports.of(("127.0.0.1", 80))
    assert (port.requests, on.told) == (1, [])
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
        pytest.param([], 2.0, id="an answer in one piece"),
        pytest.param(["upstream"], 3.0, id="an answer in two"),
        pytest.param(["client"], 3.0, id="an answer before the body"),
    ],
)
def test_the_clock_is_asked_when_something_has_come(late: list[str], ended: float) -> None:
    on = Watched()
    clock = itertools.count(1)
    on.observer.clock = lambda: float(next(clock))
    request = head("POST /a HTTP/1.1", "Host: a", ROUTE, "Content-Length: 2")
    client, upstream = on.world.ask(request + (b"" if "client" in late else b"hi"))
    upstream.arrives(OK[:-1] if "upstream" in late else OK)
    for peer in late:
        (client if peer == "client" else upstream).arrives(b"hi" if peer == "client" else b"k")
    record = on.only()
    assert (record.started, record.first_byte, record.ended) == (1.0, 2.0, ended)


def test_a_second_request_says_that_the_connection_was_there() -> None:
    on = Watched()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.arrives(OK)
    assert [record.is_reused for record in on.told] == [False, True]
    assert on.observer.counts.reused == 1


@pytest.mark.parametrize("cut", [0, 1, 5, 9])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_bytes_of_bodies_are_counted_and_those_of_the_next_request_are_not(
    cut: int, is_chunked: bool
) -> None:
    on = Watched()
    framing = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 10"
    body = b"5\r\nhello\r\n0\r\n\r\n" if is_chunked else b"0123456789"
    request = head("POST / HTTP/1.1", "Host: a", ROUTE, framing)
    answer = head("HTTP/1.1 200 OK", framing)
    client, upstream = on.world.ask(request + body[:cut])
    client.arrives(body[cut:] + GET)
    upstream.arrives(answer + body[:cut])
    upstream.arrives(body[cut:])
    assert (on.told[0].received, on.told[0].sent) == (
        len(request) + len(body), len(answer) + len(body),
    )  # fmt: skip


def test_what_the_proxy_answers_by_itself_has_its_error() -> None:
    on = Watched()
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
    on = Watched()
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    record = on.only()
    assert (record.status, record.port, record.upstream()) == (400, 0, "")
    assert on.observer.ports.all() == {}


@pytest.mark.parametrize("request_", [b"GET\r\n\r\n", b"GET / HTTP/1.1\r\na b\r\n\r\n"])
def test_a_request_that_cannot_be_read_is_told_without_its_bytes(request_: bytes) -> None:
    on = Watched()
    on.world.client().arrives(request_)
    record = on.only()
    assert (record.client, record.method, record.path) == ("192.0.2.7", "", "")
    assert (record.status, record.error, record.outcome) == (
        400, "http_request_error", Outcome.REFUSED,
    )  # fmt: skip
    assert on.observer.counts.errors == {(400, "http_request_error"): 1}


def test_a_head_that_does_not_come_and_an_address_that_may_not_are_told() -> None:
    on = Watched(Config(timeouts=Timeouts(head=1)))
    on.world.client().arrives(b"GET /")
    on.world.walk(2)
    assert on.only().status == 408
    other = Watched(Config(access=Access(allow_clients=["10.0.0.0/8"])))
    other.world.client()
    assert (other.only().status, other.only().error) == (403, "http_request_denied")


ENDS: dict[str, tuple[Callable[[Any, Any], object], int, str, Outcome]] = {
    "client leaves": (lambda c, _: c.breaks(), 200, "", Outcome.CLIENT_GONE),
    "upstream ends": (
        lambda _, u: u.ends(), 200, "http_response_incomplete", Outcome.BROKEN_OFF,
    ),
    "upstream breaks": (
        lambda _, u: u.breaks(), 200, "http_response_incomplete", Outcome.BROKEN_OFF,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("event", "status", "error", "outcome"), ENDS.values(), ids=ENDS)
def test_an_answer_that_breaks_off_is_told_as_that(
    event: Callable[[Any, Any], object], status: int, error: str, outcome: Outcome
) -> None:
    on = Watched()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK[:-1])
    event(client, upstream)
    on.world.run()
    record = on.only()
    assert (record.status, record.error, record.outcome) == (status, error, outcome)
    assert record.sent == len(OK) - 1
    assert on.observer.ports.of(("127.0.0.1", 80)).is_idle()


def test_an_answer_that_stands_still_has_the_error_of_that() -> None:
    on = Watched(Config(timeouts=Timeouts(response_idle=1)))
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK[:-1])
    on.world.walk(2)
    assert (on.only().error, on.only().outcome) == (
        "http_response_timeout", Outcome.BROKEN_OFF,
    )  # fmt: skip


def test_who_leaves_before_an_answer_is_told_with_a_status_of_its_own() -> None:
    on = Watched()
    client, _ = on.world.ask(GET)
    client.breaks()
    on.world.run()
    assert (on.only().status, on.only().outcome) == (499, Outcome.CLIENT_GONE)
    assert on.series() == [("request", "GET", 499, 1, 0)]


def test_a_request_that_is_sent_again_is_one_request() -> None:
    on = Watched()
    client, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.breaks()
    on.world.run()
    on.world.dial().succeeds().arrives(OK)
    assert [record.is_reused for record in on.told] == [False, False]
    assert (on.observer.counts.retried, on.observer.counts.reused) == (1, 0)
    assert on.observer.ports.of(("127.0.0.1", 80)).count == 2


@pytest.mark.parametrize("kind", ["upgrade", "connect"])
def test_a_tunnel_is_told_when_it_is_closed(kind: str) -> None:
    on = Watched()
    client, upstream = on.world.ask(UPGRADE if kind == "upgrade" else CONNECT)
    if kind == "upgrade":
        upstream.arrives(SWITCH)
    port = on.observer.ports.of(("127.0.0.1", 80))
    assert (on.told, port.requests, port.tunnels) == ([], 0, 1)
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


@pytest.mark.parametrize("kind", ["upgrade", "connect"])
def test_bytes_that_come_early_are_a_tunnels_too(kind: str) -> None:
    on = Watched()
    asked = UPGRADE if kind == "upgrade" else CONNECT
    client, upstream = on.world.ask(asked + b"early")
    answered = SWITCH + b"too" if kind == "upgrade" else b"too"
    upstream.arrives(answered)
    client.breaks()
    on.world.run()
    record = on.only()
    assert (record.received, record.sent) == (len(asked) + 5, len(answered))
    counts = on.observer.counts
    assert (counts.received, counts.sent) == (record.received, record.sent)


def test_the_bytes_of_interim_responses_are_counted() -> None:
    on = Watched()
    _, upstream = on.world.ask(GET)
    hints = head("HTTP/1.1 103 E", "Link: </a>")
    upstream.arrives(hints)
    upstream.arrives(hints + OK)
    assert on.only().sent == 2 * len(hints) + len(OK)


def test_bytes_that_move_by_themselves_keep_a_port_awake() -> None:
    on = Watched()
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
def test_a_workspace_is_told_however_it_was_named(request_: bytes, workspace: str) -> None:
    on = Watched()
    client, _ = on.world.ask(request_)
    client.breaks()
    on.world.run()
    assert on.only().workspace == workspace
    [port] = on.observer.ports.all().values()
    assert port.workspace == workspace


class Talkative(Router):
    """Tells of workspaces with long names."""

    def workspace_of(self, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]) -> str:
        """Return a name that is too long."""
        return "w" * 60_000


def test_nothing_that_a_client_says_is_kept_whole_where_it_is_long() -> None:
    on = Watched(Config(limits=Limits(request_line=100_000)))
    on.observer.wants_trace = True
    on.world.services.router = Talkative("127.0.0.1")
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


def test_a_trace_is_told_whole() -> None:
    on = Watched()
    on.observer.wants_trace = True
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    _, upstream = on.world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE, f"traceparent: {trace}"))
    upstream.arrives(OK)
    assert on.only().trace == trace


def test_who_wants_errors_only_hears_of_nothing_else() -> None:
    told: list[Record] = []
    world = World(None, Observer(False, on_error=told.append))
    client, upstream = world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.arrives(b"nonsense\r\n\r\n")
    assert [(record.status, record.error) for record in told] == [(502, "http_protocol_error")]
    assert told[0].ended > told[0].started > 0
