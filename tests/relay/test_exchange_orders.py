"""An exchange ends exactly once and holds little, whatever order its events come in.

The events of both connections, of the dial and of the clock are played in every order that
hypothesis comes upon, with transports that are not real. What each event does on the wire is
tested through sockets, in tests/network.
"""

from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy._build import COMPILED
from cmux_proxy.downstream import http1_connection as client_module
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.services import Services
from tests.helpers.fakes import FakeDial, FakeStream, World
from tests.helpers.script import head

# What one read brings, with the framing that is put around it; and an unfinished head before it.
READ_AT_ONCE = 256 * 1024 + 16
MOST_TO_CLIENT = READ_AT_ONCE + Limits().response_head
MOST_EARLY = READ_AT_ONCE + Limits().request_line + Limits().header_section

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
    "PUT, a part": head("PUT / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 8") + b"body",
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
    "a part of a head": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "a big part of a head": b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 60_000,
    "the end of a head": f"\r\n{ROUTE}\r\n\r\n".encode(),
    "an empty line": b"\r\n",
}
REQUEST_PIECES = {
    "body": b"body",
    "a chunk": b"4\r\nbody\r\n",
    "half a chunk": b"4\r\nbo",
    "the last chunk": b"0\r\n\r\n",
    "much": bytes(300_000),
    "very much": bytes(900_000),
    "a big chunk": b"40000\r\n" + bytes(0x40000) + b"\r\n",
}
ANSWERS = {
    "200": head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok",
    "200, a part": head("HTTP/1.1 200 OK", "Content-Length: 4") + b"ok",
    "200, close": head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok",
    "200, too much": head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok and more",
    "200, large": head("HTTP/1.1 200 OK", "Content-Length: 600000"),
    "200, chunked": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
    "200, until close": head("HTTP/1.1 200 OK"),
    "204": head("HTTP/1.1 204 No Content"),
    "100": head("HTTP/1.1 100 Continue"),
    "101": head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: x") + b"hi",
    "a part of a head": b"HTTP/1.1 200 OK\r\nA: b\r\n",
    "a big part of a head": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
    "the end of a head": b"\r\nContent-Length: 400000\r\n\r\n" + bytes(200_000),
}
ANSWER_PIECES = {
    "body": b"ok",
    "a chunk": b"2\r\nok\r\n",
    "the last chunk": b"0\r\n\r\n",
    "much": bytes(300_000),
    "very much": bytes(900_000),
    "a big chunk": b"40000\r\n" + bytes(0x40000) + b"\r\n",
}
MALFORMED = {
    "request": head("GET / HTTP/1.1", "Host : a"),
    "framing": head(
        "GET / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 0", "Transfer-Encoding: chunked"
    ),
    "chunk": b"+4\r\n",
    "answer": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
}


class Counted(Exchange):
    """An exchange that knows how often it has ended."""

    def __init__(self, services: Services, client: Downstream, request: ClientRequest) -> None:
        super().__init__(services, client, request)
        self.client = client
        self.ends: list[int] = []
        Everything.running.append(self)

    def _finish(self, outcome: int, ended: float) -> None:
        self.ends.append(outcome)
        super()._finish(outcome, ended)


class Everything(RuleBasedStateMachine):
    """Clients, their upstreams, and whatever may happen to them."""

    running: list[Counted]

    def __init__(self) -> None:
        super().__init__()
        Everything.running = []
        self.world = World(
            Config(
                timeouts=Timeouts(head=10, idle=20, response=30, upstream_idle=40, linger=5),
            )
        )
        self._patch: Any = None
        if not COMPILED:
            # A compiled class cannot be replaced; the same orders are played without the count.
            self._patch = mock.patch.object(client_module, "Exchange", Counted)
            self._patch.start()
        self.client: FakeStream

    @initialize()
    def connects(self) -> None:
        """There is a client."""
        self.client = self.world.client()

    @rule(what=st.sampled_from(sorted(REQUESTS)), is_new=st.booleans(), is_dialled=st.booleans())
    def client_asks(self, what: str, is_new: bool, is_dialled: bool) -> None:
        """A request comes, or a part of one, and perhaps its upstream accepts at once."""
        if is_new or self.client.is_over() or self.client.has_sent_end():
            self.client = self.world.client()
        self.client.arrives(REQUESTS[what])
        if is_dialled:
            self.dial_succeeds()

    @rule(what=st.sampled_from(sorted(REQUEST_PIECES)))
    def client_sends(self, what: str) -> None:
        """The client sends what may be a part of its request."""
        self.client.arrives(REQUEST_PIECES[what])

    @rule()
    def dial_succeeds(self) -> None:
        """An upstream accepts."""
        for dial in self.dials():
            if not dial.is_over:
                dial.succeeds()

    @rule(what=st.sampled_from(sorted(ANSWERS)), which=st.integers(0, 3))
    def upstream_answers(self, what: str, which: int) -> None:
        """An upstream answers, asked or not; mostly the one that has been asked last."""
        self.upstream(which).arrives(ANSWERS[what])

    @rule(what=st.sampled_from(sorted(ANSWER_PIECES)), which=st.integers(0, 3))
    def upstream_sends(self, what: str, which: int) -> None:
        """An upstream sends what may be a part of its answer."""
        self.upstream(which).arrives(ANSWER_PIECES[what])

    @rule(what=st.sampled_from(["stops_reading", "reads_again"]), is_client=st.booleans())
    def somebody_reads_or_not(self, what: str, is_client: bool) -> None:
        """The client or an upstream takes nothing more, or everything again."""
        getattr(self.client if is_client else self.upstream(0), what)()

    @rule()
    def loop_runs(self) -> None:
        """What was put off is done."""
        self.world.run()

    @rule()
    def a_socket_opens(self) -> None:
        """A dial has come so far that nobody can call it off."""
        for dial in self.dials():
            dial.opens()

    @rule(what=st.sampled_from(["ends", "breaks"]), is_client=st.booleans())
    def somebody_leaves(self, what: str, is_client: bool) -> None:
        """The client or an upstream sends its end, or is lost."""
        getattr(self.client if is_client else self.upstream(0), what)()

    @rule(what=st.sampled_from(sorted(MALFORMED)), is_client=st.booleans())
    def somebody_breaks_the_rules(self, what: str, is_client: bool) -> None:
        """The client or an upstream sends what nobody may send."""
        (self.client if is_client else self.upstream(0)).arrives(MALFORMED[what])

    @rule()
    def dial_fails(self) -> None:
        """An upstream refuses."""
        for dial in self.dials():
            if not dial.is_over:
                dial.fails()

    @rule()
    def dial_is_not_answered(self) -> None:
        """An upstream has more to do than it can."""
        for dial in self.dials():
            if dial.is_connecting:
                dial.times_out()

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0, 31.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """The deadlines are looked at."""
        self.world.walk(seconds)

    @rule(dice=st.integers(0, 9))
    def drain_begins(self, dice: int) -> None:
        """The proxy is told to end; seldom, because little else happens afterwards."""
        if dice == 9:
            self.world.services.registry.is_draining = self.world.services.registry.is_refusing = (
                True
            )
            for timed in list(self.world.services.registry.clients):
                timed.drain()

    @invariant()
    def no_exchange_ends_twice(self) -> None:
        """None has ended more than once, and no client has two under way."""
        assert all(len(exchange.ends) <= 1 for exchange in self.running)
        busy = [exchange.client for exchange in self.running if not exchange.ends]
        assert len(set(map(id, busy))) == len(busy)

    @invariant()
    def every_end_is_counted_once(self) -> None:
        """The tally knows each end."""
        if not COMPILED:
            ended = sum(len(exchange.ends) for exchange in self.running)
            tally = self.world.services.tally
            assert sum(tally.count(outcome) for outcome in Outcome) == ended

    @invariant()
    def little_is_held(self) -> None:
        """What one direction of a connection holds stays within the bound."""
        assert self.world.max_held <= MOST_TO_CLIENT
        for timed in self.world.services.registry.clients:
            assert len(getattr(timed, "early", b"")) <= MOST_EARLY

    def teardown(self) -> None:
        """Whatever has happened, once everybody has left nothing is left."""
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
            assert all(len(exchange.ends) == 1 for exchange in self.running)
        finally:
            if self._patch is not None:
                self._patch.stop()

    def dials(self) -> list[FakeDial]:
        """Return the dials that are under way."""
        return [dial for dial in self.world.dials if not dial.is_over]

    def upstream(self, which: int) -> FakeStream:
        """Return an open upstream, 0 for the last; one that nobody uses if there is none."""
        several = self.open_upstreams()
        return several[-1 - which % len(several)] if several else self.world.stranger()

    def open_upstreams(self) -> list[FakeStream]:
        """Return the connections to upstreams that are not closed."""
        return [upstream for upstream in self.world.upstreams if not upstream.is_over()]


TestEverything = Everything.TestCase
