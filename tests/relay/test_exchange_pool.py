"""An exchange that is begun again keeps nothing of the request that it served before.

Each request is sent twice: to a worker that has served nothing yet, and to one whose only spare
exchange has just served another. Both must forward, reply and record the same bytes. The streams
are fakes (`tests/helpers/fakes.py`).
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.record import Record
from cmux_proxy.relay.client_request import NO_REQUEST
from cmux_proxy.relay.downstream import NO_CLIENT
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.exchange_pool import ExchangePool
from tests.helpers.fakes import FakeStream, World
from tests.helpers.feeding import attribute_values
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
PARTIAL = b"HTTP/1.1 200 OK\r\nA: " + b"b" * 99
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4") + b"body"
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


SWITCH = head("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: b")


@dataclass(frozen=True)
class Case:
    """A request and the bytes of its upstream; `then` happens after them."""

    request: bytes
    response: bytes = OK
    then: Callable[["Peers"], None] | None = None


class Peers:
    """A client and the upstream that it has reached, if there is one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.client()
        self.upstream: FakeStream | None = None

    def serve(self, case: Case) -> None:
        """Let the exchange take its course; the upstream is a new connection."""
        for connection in self.world.services.pool.drain():
            connection.close()
        self.world.run()
        before = len(self.world.dials)
        self.client.arrives(case.request)
        if len(self.world.dials) > before:
            self.upstream = self.world.dial().succeeds()
            if case.response:
                self.upstream.arrives(case.response)
        if case.then is not None:
            case.then(self)
        self.world.run()


def client_leaves(peers: Peers) -> None:
    peers.client.breaks()


def body_follows(peers: Peers) -> None:
    peers.client.arrives(b"body")


def body_follows_and_is_answered(peers: Peers) -> None:
    body_follows(peers)
    assert peers.upstream is not None
    peers.upstream.arrives(OK)


def upstream_ends(peers: Peers) -> None:
    assert peers.upstream is not None
    peers.upstream.ends()


def time_passes(peers: Peers) -> None:
    peers.world.walk(40)


CASES = {
    "GET": Case(head("GET /a HTTP/1.1", "Host: a", ROUTE)),
    "HEAD": Case(
        head("HEAD / HTTP/1.1", "Host: a", ROUTE), head("HTTP/1.1 200 OK", "Content-Length: 9")
    ),
    "POST": Case(
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4") + b"body",
    ),
    "POST whose body follows": Case(
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 6") + b"bo", OK, body_follows
    ),
    "POST that is answered early": Case(
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4"), OK, body_follows
    ),
    "POST with 100": Case(
        head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4", "Expect: 100-continue"),
        head("HTTP/1.1 100 Continue"),
        body_follows_and_is_answered,
    ),
    "absolute form": Case(head("GET http://b/c HTTP/1.1", "Host: b", ROUTE)),
    "another Host": Case(
        head("GET / HTTP/1.1", "Host: a", ROUTE, "X-Cmux-Host-Override: other.example")
    ),
    "waits for its port": Case(
        head("GET / HTTP/1.1", "Host: a", ROUTE, "X-Cmux-Wait: 5"), b"", time_passes
    ),
    "chunked": Case(
        head("GET / HTTP/1.1", "Host: a", ROUTE),
        head("HTTP/1.1 404 Not Found", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n",
    ),
    "until close": Case(
        head("GET / HTTP/1.1", "Host: a", ROUTE), head("HTTP/1.1 200 OK") + b"ok", upstream_ends
    ),
    "half a head": Case(head("GET / HTTP/1.1", "Host: a", ROUTE), b"HTTP/1.1 20", upstream_ends),
    "a large part of a head": Case(
        head("GET / HTTP/1.1", "Host: a", ROUTE),
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 99,
        upstream_ends,
    ),
    "a switch that was not asked for": Case(
        head("GET / HTTP/1.1", "Host: a", ROUTE),
        SWITCH,
    ),
    "client leaves": Case(head("GET / HTTP/1.1", "Host: a", ROUTE), b"", client_leaves),
    "no route": Case(head("GET / HTTP/1.1", "Host: a")),
    "no response": Case(head("GET / HTTP/1.1", "Host: a", ROUTE), b"", time_passes),
}


class Worker:
    """A worker whose records are kept; their times count from `start`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        observer = self.observer = Observer(True, self.records.append)
        self.world = World(Config(timeouts=Timeouts(response=30, idle=None)), observer)
        observer.clock = lambda: self.world.loop.now - self.start + 1
        self.start = self.world.loop.now

    def serve(self, case: Case) -> tuple[object, ...]:
        """Serve a request on a connection of its own; return all bytes that left, and records."""
        self.records.clear()
        self.start = self.world.loop.now
        peers = Peers(self.world)
        peers.serve(case)
        upstream = peers.upstream
        fields = [attribute_values(record) for record in self.records]
        # A second may begin between two replies.
        got = re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate:", peers.client.got)
        return got, None if upstream is None else upstream.got, fields


def exchange_of(world: World) -> Exchange:
    """Return the exchange in progress."""
    [client] = world.services.registry.clients
    assert isinstance(client, Http1Connection)
    assert client.exchange is not None
    return client.exchange


@pytest.mark.parametrize("second", CASES)
@pytest.mark.parametrize("first", CASES)
def test_a_request_does_not_depend_on_the_one_before(first: str, second: str) -> None:
    used = Worker()
    used.serve(CASES[first])
    assert used.serve(CASES[second]) == Worker().serve(CASES[second])


def test_an_exchange_that_has_ended_is_begun_again() -> None:
    world = World()
    client, upstream = world.ask(GET)
    exchange = exchange_of(world)
    upstream.arrives(OK)
    client.arrives(GET)
    assert exchange_of(world) is exchange


@pytest.mark.parametrize("response", [OK, SWITCH, b"broken\r\n\r\n"], ids=["OK", "101", "broken"])
def test_a_spare_exchange_holds_nothing_of_its_request(response: bytes) -> None:
    world = World()
    world.client()
    [client] = world.services.registry.clients
    assert isinstance(client, Http1Connection)
    writer = client.writer
    references = sys.getrefcount(writer)
    world.clients[0].arrives(GET)
    exchange = exchange_of(world)
    world.dial().succeeds().arrives(response)
    assert sys.getrefcount(writer) == references
    stream = exchange.request_stream
    assert stream.client is NO_CLIENT
    assert stream.request is NO_REQUEST
    assert not stream.outgoing
    assert exchange.response_stream.body is None
    assert exchange.response_stream.switch is None
    assert not exchange.response_stream.held
    assert exchange.upstream.connection is None


def test_bytes_that_a_client_has_not_read_do_not_prolong_the_next_request() -> None:
    world = World(Config(timeouts=Timeouts(response=30, idle=None)))
    client, upstream = world.ask(GET)
    client.stops_reading()
    upstream.arrives(OK)
    other = world.client()
    other.arrives(GET)
    world.walk(30)
    assert other.got.startswith(b"HTTP/1.1 504 ")


def test_a_request_after_one_on_a_reused_connection_has_reused_none() -> None:
    worker = Worker()
    client, upstream = worker.world.ask(GET)
    upstream.arrives(OK)
    client.arrives(GET)
    upstream.arrives(OK)
    for connection in worker.world.services.pool.drain():
        connection.close()
    worker.world.run()
    client.arrives(GET)
    worker.world.dial().fails()
    assert [record.is_reused for record in worker.records] == [False, True, False]


def test_a_request_without_a_route_does_not_count_at_the_port_of_the_one_before() -> None:
    worker = Worker()
    worker.serve(CASES["GET"])
    worker.serve(CASES["no route"])
    assert worker.observer.ports.of(("127.0.0.1", 80)).requests == 0


def two_bursts(size: int) -> tuple[list[Exchange], list[Exchange]]:
    """Return so many exchanges that were in use at once, and those that are in use after them."""
    pool = ExchangePool(World().services)
    burst = [pool.begin(NO_CLIENT, NO_REQUEST) for _ in range(size)]
    for exchange in burst:
        pool.take_back(exchange)
    return burst, [pool.begin(NO_CLIENT, NO_REQUEST) for _ in range(size)]


def test_the_spare_exchanges_after_a_burst_are_limited() -> None:
    burst, again = two_bursts(1100)
    assert len({*map(id, burst)} & {*map(id, again)}) == 1024


def test_an_exchange_in_use_keeps_no_other() -> None:
    _burst, again = two_bursts(3)
    assert [exchange.next_spare for exchange in again] == [None, None, None]
