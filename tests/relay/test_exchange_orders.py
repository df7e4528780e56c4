"""An exchange ends exactly once and buffers little, in any order of events.

Hypothesis chooses the order of the events of both connections, of the dial and of the clock. The
streams are fakes (`tests/helpers/fakes.py`). tests/network tests the bytes on the wire.
"""

from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy._build import COMPILED
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay import exchange
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.exchange_end import ExchangeEnd
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.services import Services
from tests.helpers.fakes import FakeDial, FakeStream, World
from tests.helpers.script import head

# The bytes of one read with the framing around them, and an incomplete head before them.
MAX_READ = 256 * 1024 + 16
MAX_TO_CLIENT = MAX_READ + Limits().response_head
MAX_PIPELINED = MAX_READ + Limits().request_line + Limits().header_section

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
REQUESTS = {
    "GET": GET,
    "two GETs": GET + GET,
    "GET, close": head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: close"),
    "GET, HTTP/1.0": head("GET / HTTP/1.0", ROUTE),
    "GET, HTTP/1.0, keep-alive": head("GET / HTTP/1.0", ROUTE, "Connection: keep-alive"),
    "HEAD": head("HEAD / HTTP/1.1", "Host: a", ROUTE),
    "PUT": head("PUT / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4") + b"body",
    "PUT, incomplete": head("PUT / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 8") + b"body",
    "POST": head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4") + b"body",
    "POST, chunked": head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked"),
    "POST, large": head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 600000"),
    "upgrade": head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: x"),
    "upgrade, early bytes": head(
        "GET / HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: x"
    )
    + b"early",
    "CONNECT": head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE),
    "CONNECT, early bytes": head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE) + bytes(10_000),
    "no route": head("GET / HTTP/1.1", "Host: a"),
    "part of a head": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "large part of a head": b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 60_000,
    "end of a head": f"\r\n{ROUTE}\r\n\r\n".encode(),
    "an empty line": b"\r\n",
}
REQUEST_PARTS = {
    "body": b"body",
    "a chunk": b"4\r\nbody\r\n",
    "half a chunk": b"4\r\nbo",
    "the last chunk": b"0\r\n\r\n",
    "large part": bytes(300_000),
    "very large part": bytes(900_000),
    "large chunk": b"40000\r\n" + bytes(0x40000) + b"\r\n",
}
RESPONSES = {
    "200": head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok",
    "200, incomplete": head("HTTP/1.1 200 OK", "Content-Length: 4") + b"ok",
    "200, close": head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok",
    "200, too much": head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok and more",
    "200, large": head("HTTP/1.1 200 OK", "Content-Length: 600000"),
    "200, chunked": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
    "200, until close": head("HTTP/1.1 200 OK"),
    "204": head("HTTP/1.1 204 No Content"),
    "100": head("HTTP/1.1 100 Continue"),
    "101": head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: x") + b"hi",
    "part of a head": b"HTTP/1.1 200 OK\r\nA: b\r\n",
    "large part of a head": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
    "end of a head": b"\r\nContent-Length: 400000\r\n\r\n" + bytes(200_000),
}
RESPONSE_PARTS = {
    "body": b"ok",
    "a chunk": b"2\r\nok\r\n",
    "the last chunk": b"0\r\n\r\n",
    "large part": bytes(300_000),
    "very large part": bytes(900_000),
    "large chunk": b"40000\r\n" + bytes(0x40000) + b"\r\n",
}
MALFORMED = {
    "request": head("GET / HTTP/1.1", "Host : a"),
    "framing": head(
        "GET / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 0", "Transfer-Encoding: chunked"
    ),
    "chunk": b"+4\r\n",
    "response": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
}


class Begun:
    """A request for which an exchange was begun, and how that has ended."""

    def __init__(self, client: Downstream, request: ClientRequest) -> None:
        self.client = client
        self.request = request
        self.outcomes: list[int] = []


class CountedExchanges(ExchangePool):
    """Exchanges that are remembered."""

    def begin(self, client: Downstream, request: ClientRequest) -> Exchange:
        ExchangeMachine.begun.append(Begun(client, request))
        return super().begin(client, request)


class CountedEnd(ExchangeEnd):
    """The end of an exchange that counts how often it has come for one request."""

    def __init__(self, services: Services, request_stream: RequestStream, *parts: Any) -> None:
        super().__init__(services, request_stream, *parts)
        self.request_stream = request_stream

    def finish(self, outcome: int, ended: object) -> None:
        [begun] = [
            one for one in ExchangeMachine.begun if one.request is self.request_stream.request
        ]
        begun.outcomes.append(outcome)
        super().finish(outcome, ended)


class ExchangeMachine(RuleBasedStateMachine):
    """Clients, their upstreams, and all events."""

    begun: list[Begun]

    def __init__(self) -> None:
        super().__init__()
        ExchangeMachine.begun = []
        self.world = World(
            Config(
                timeouts=Timeouts(head=10, idle=20, response=30, upstream_idle=40, linger=5),
            )
        )
        self._patch: Any = None
        if not COMPILED:
            # A compiled class cannot be replaced; there, the same orders run without the count.
            self._patch = mock.patch.object(exchange, "ExchangeEnd", CountedEnd)
            self._patch.start()
            self.world.exchanges = CountedExchanges(self.world.services)
        self.client: FakeStream

    @initialize()
    def connects(self) -> None:
        """A client connects."""
        self.client = self.world.client()

    @rule(name=st.sampled_from(sorted(REQUESTS)), is_new=st.booleans(), is_dialled=st.booleans())
    def client_requests(self, name: str, is_new: bool, is_dialled: bool) -> None:
        """A request arrives, or a part of one, and perhaps its upstream accepts."""
        if is_new or self.client.is_over() or self.client.has_sent_end():
            self.client = self.world.client()
        self.client.arrives(REQUESTS[name])
        if is_dialled:
            self.dial_succeeds()

    @rule(name=st.sampled_from(sorted(REQUEST_PARTS)))
    def client_sends(self, name: str) -> None:
        """The client sends bytes that may be a part of its request."""
        self.client.arrives(REQUEST_PARTS[name])

    @rule()
    def dial_succeeds(self) -> None:
        """An upstream accepts."""
        for dial in self.dials():
            if not dial.is_over:
                dial.succeeds()

    @rule(name=st.sampled_from(sorted(RESPONSES)), index=st.integers(0, 3))
    def upstream_responds(self, name: str, index: int) -> None:
        """An upstream responds, with or without a request; often the one that was used last."""
        self.upstream(index).arrives(RESPONSES[name])

    @rule(name=st.sampled_from(sorted(RESPONSE_PARTS)), index=st.integers(0, 3))
    def upstream_sends(self, name: str, index: int) -> None:
        """An upstream sends bytes that may be a part of its response."""
        self.upstream(index).arrives(RESPONSE_PARTS[name])

    @rule(name=st.sampled_from(["stops_reading", "reads_again"]), is_client=st.booleans())
    def peer_stops_or_resumes_reading(self, name: str, is_client: bool) -> None:
        """The client or an upstream stops reading, or reads again."""
        getattr(self.client if is_client else self.upstream(0), name)()

    @rule()
    def loop_runs(self) -> None:
        """Pending callbacks run."""
        self.world.run()

    @rule()
    def a_socket_opens(self) -> None:
        """A dial can no longer be cancelled."""
        for dial in self.dials():
            dial.opens()

    @rule(name=st.sampled_from(["ends", "breaks"]), is_client=st.booleans())
    def peer_disconnects(self, name: str, is_client: bool) -> None:
        """The client or an upstream sends its end, or is lost."""
        getattr(self.client if is_client else self.upstream(0), name)()

    @rule(name=st.sampled_from(sorted(MALFORMED)), is_client=st.booleans())
    def peer_sends_malformed_bytes(self, name: str, is_client: bool) -> None:
        """The client or an upstream sends malformed bytes."""
        (self.client if is_client else self.upstream(0)).arrives(MALFORMED[name])

    @rule()
    def dial_fails(self) -> None:
        """An upstream refuses."""
        for dial in self.dials():
            if not dial.is_over:
                dial.fails()

    @rule()
    def dial_times_out(self) -> None:
        """An upstream's backlog is full."""
        for dial in self.dials():
            if dial.is_connecting:
                dial.times_out()

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0, 31.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """The deadlines are checked."""
        self.world.walk(seconds)

    @rule(dice=st.integers(0, 9))
    def drain_begins(self, dice: int) -> None:
        """The proxy drains; rarely, because few events have an effect afterwards."""
        if dice == 9:
            self.world.services.registry.is_draining = self.world.services.registry.is_refusing = (
                True
            )
            for timed in list(self.world.services.registry.clients):
                timed.drain()

    @invariant()
    def no_exchange_ends_twice(self) -> None:
        """No exchange has ended more than once, and no client has two in progress."""
        assert all(len(one.outcomes) <= 1 for one in self.begun)
        busy = [one.client for one in self.begun if not one.outcomes]
        assert len(set(map(id, busy))) == len(busy)

    @invariant()
    def every_end_is_counted_once(self) -> None:
        """The tally counts each end."""
        if not COMPILED:
            ended = sum(len(one.outcomes) for one in self.begun)
            tally = self.world.services.tally
            assert sum(tally.count(outcome) for outcome in Outcome) == ended

    @invariant()
    def buffers_are_bounded(self) -> None:
        """The buffer of each direction of a connection stays within the bound."""
        assert self.world.max_held <= MAX_TO_CLIENT
        for timed in self.world.services.registry.clients:
            assert len(getattr(timed, "pipelined", b"")) <= MAX_PIPELINED

    def teardown(self) -> None:
        """When all peers have disconnected, nothing is left."""
        world = self.world
        if not hasattr(self, "client"):
            return
        try:
            for client in world.clients:
                client.abort()
            world.run()
            for transport in [*world.clients, *world.upstreams]:
                transport.reads_again()
            for dial in self.dials():
                dial.succeeds()
            assert not self.dials()
            assert not world.loop.timers
            world.run()
            assert not world.services.registry.clients
            assert not world.services.registry.tunnels
            assert len(self.open_upstreams()) == len(world.services.pool)
            for connection in world.services.pool.drain():
                assert connection.owner is None
                connection.close()
            world.run()
            assert not self.open_upstreams()
            assert all(len(one.outcomes) == 1 for one in self.begun)
        finally:
            if self._patch is not None:
                self._patch.stop()

    def dials(self) -> list[FakeDial]:
        """Return the dials in progress."""
        return [dial for dial in self.world.dials if not dial.is_over]

    def upstream(self, index: int) -> FakeStream:
        """Return an open upstream, 0 for the last; an unrelated stream if there is none."""
        upstreams = self.open_upstreams()
        return upstreams[-1 - index % len(upstreams)] if upstreams else self.world.stranger()

    def open_upstreams(self) -> list[FakeStream]:
        """Return the connections to upstreams that are not closed."""
        return [upstream for upstream in self.world.upstreams if not upstream.is_over()]


TestEverything = ExchangeMachine.TestCase
