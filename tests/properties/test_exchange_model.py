"""Exchanges against a model: each request has one response, and no bytes reach another exchange.

Several clients send requests to several upstreams. Each request and its response contain their own
mark, and any event may happen to a connection in between. tests/relay/test_exchange_orders.py
tests that an exchange ends once, and how many bytes it holds.
"""

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.upstream.connection import UpstreamConnection
from tests.helpers.fakes import FakeDial, FakeStream, World
from tests.helpers.marked import (
    MARK,
    OWN,
    REQUESTS,
    RESPONSES,
    ROUTE,
    Peer,
    is_whole,
    mark_of,
    response_with,
)
from tests.helpers.script import head

# Which client or upstream: 0 is the newest.
numbers = st.integers(0, 2)
# How many bytes of a message arrive at once: all, up to the middle of most bodies, or any number.
sizes = st.one_of(st.just(1000), st.just(60), st.integers(0, 120))
CLOSES: Final = st.sampled_from(["ends", "breaks"])
READS: Final = st.sampled_from(["stops_reading", "reads_again"])


class Exchanges(RuleBasedStateMachine):
    """Clients, upstreams, and all events that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        timeouts = Timeouts(head=10, idle=20, response=30, upstream_idle=40, linger=5)
        self.world = World(Config(timeouts=timeouts, limits=Limits(idle_upstream_connections=2)))
        self.clients: list[Peer] = []
        self.upstreams: dict[int, Peer] = {}
        self.count = 0
        # Each request as an upstream receives it.
        self.forwarded: dict[bytes, bytes] = {}
        # Whether a connection is lost and the proxy may not know yet.
        self.has_unseen_close = False

    # Events

    @initialize()
    def begin(self) -> None:
        self.a_client_connects()
        self.a_client_connects()

    def a_client_connects(self) -> Peer:
        client = Peer(self.world.client())
        self.clients.append(client)
        return client

    @rule(
        name=st.sampled_from(sorted(REQUESTS)), which=numbers, size=sizes,
        progress=st.integers(0, 3), response=st.sampled_from(RESPONSES), response_size=sizes,
    )  # fmt: skip
    def a_client_sends_a_request(
        self, name: str, which: int, size: int, progress: int, response: str, response_size: int
    ) -> None:
        """Send a request; usually an upstream receives it in the same step, and responds."""
        client = self.client(which)
        if client.transport.is_over() or client.transport.has_sent_end():
            client = self.a_client_connects()
        if client.unsent:
            return
        client.send(self.new_request(client, name), size)
        if progress > 0:
            self.a_dial_ends("succeeds")
        if progress > 1 and self.open_upstreams():
            self.an_upstream_responds(response, 0, response_size)

    def new_request(self, client: Peer, name: str) -> bytes:
        self.count += 1
        mark = mark_of(self.count)
        method, fields, body = REQUESTS[name]
        client.sent_requests.append((mark, method))
        line = f"{method} /{mark.decode()} HTTP/1.1"
        content = body % mark if body else b""
        kept = [field for field in fields if not field.startswith("Connection:")]
        self.forwarded[mark] = head(line, "Host: a", *kept) + content
        return head(line, "Host: a", ROUTE, *fields) + content

    @rule(which=numbers, size=sizes, is_client=st.booleans())
    def a_peer_sends_more(self, which: int, size: int, is_client: bool) -> None:
        peers = self.clients if is_client else list(map(self.peer, self.open_upstreams()))
        waiting = [peer for peer in peers if peer.unsent]
        if waiting:
            peer = waiting[-1 - which % len(waiting)]
            # Bytes that arrive after the next request would be its response.
            is_due = is_client or len(peer.requests()) == peer.response_count
            peer.send(peer.unsent if is_due else b"", size)

    @rule(event=st.sampled_from(["succeeds", "succeeds", "fails", "times_out"]))
    def a_dial_ends(self, event: str) -> None:
        """End the current dials; then others may begin, and some may be cancelled."""
        for dial in self.dials():
            # A dial whose socket is open cannot time out.
            if not dial.is_over and (dial.is_connecting or event != "times_out"):
                getattr(dial, event)()

    @rule(count=st.integers(1, 6), progress=st.integers(0, 2))
    def several_requests_come_at_once(self, count: int, progress: int) -> None:
        """Send more requests than dials are allowed, so that some requests have to wait."""
        for _ in range(count):
            client = self.a_client_connects()
            client.send(self.new_request(client, "get"), 1000)
        if progress > 0:
            self.a_dial_ends("succeeds")
        if progress > 1 and self.open_upstreams():
            self.an_upstream_responds("length", 0, 1000)

    @precondition(lambda self: self.open_upstreams())
    @rule(name=st.sampled_from(RESPONSES), which=numbers, size=sizes)
    def an_upstream_responds(self, name: str, which: int, size: int) -> None:
        upstream = self.upstream(which)
        requests = upstream.requests()
        if upstream.unsent or len(requests) == upstream.response_count:
            return
        upstream.response_count = len(requests)
        [mark, *_] = MARK.findall(requests[-1])
        is_head = requests[-1].startswith(b"HEAD")
        upstream.send(response_with(name, mark, is_head), size)
        # Bytes that arrive later may not be there when the next request comes.
        upstream.has_surplus |= name == "too-much" and not is_head and not upstream.unsent

    @rule(event=READS, which=numbers, is_client=st.booleans())
    def a_peer_reads_or_not(self, event: str, which: int, is_client: bool) -> None:
        getattr(self.any_peer(which, is_client).transport, event)()

    @rule(event=CLOSES, which=numbers, is_client=st.booleans(), is_seen=st.booleans())
    def a_peer_closes(self, event: str, which: int, is_client: bool, is_seen: bool) -> None:
        getattr(self.any_peer(which, is_client).transport, event)()
        self.has_unseen_close = True
        if is_seen:
            self.the_loop_runs()

    @rule()
    def the_loop_runs(self) -> None:
        self.world.run()
        self.has_unseen_close = False

    @rule(seconds=st.sampled_from([1.0, 1.0, 1.0, 11.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.walk(seconds)

    @rule(dice=st.integers(0, 30))
    def the_proxy_drains(self, dice: int) -> None:
        if dice == 30:
            self.world.services.registry.is_draining = self.world.services.registry.is_refusing = (
                True
            )
            for timed in list(self.world.services.registry.clients):
                timed.drain()

    # Invariants

    @invariant()
    def no_byte_reaches_another_exchange(self) -> None:
        for client in self.clients:
            own = {mark for mark, _ in client.sent_requests}
            assert set(MARK.findall(client.received())) <= own
        for upstream in self.upstreams.values():
            for request in upstream.requests():
                if b"\r\nUpgrade: " in request:
                    # After it the connection may be a tunnel with any bytes.
                    break
                [mark] = set(MARK.findall(request))
                assert self.forwarded[mark].startswith(request)

    @invariant()
    def no_request_waits_while_a_connection_is_idle(self) -> None:
        waiters = [exchange.upstream.waiter for exchange in self.exchanges()]
        idle = len(self.world.services.pool)
        assert not idle or all(waiter is None or waiter.needs_fresh for waiter in waiters)

    @invariant()
    def a_waiting_request_has_a_dial_or_will_have_one(self) -> None:
        waiting = [
            exchange for exchange in self.exchanges() if exchange.upstream.waiter is not None
        ]
        assert not waiting or self.dials() or self.world.loop.timers

    @invariant()
    def an_upstream_with_surplus_bytes_gets_no_more_requests(self) -> None:
        for upstream in self.upstreams.values():
            if upstream.has_surplus:
                assert len(upstream.requests()) == upstream.response_count

    @invariant()
    def a_request_has_at_most_one_response_and_its_own(self) -> None:
        for client in self.clients:
            requests, responses = client.sent_requests, client.responses()
            for (mark, _), response in zip(requests, responses, strict=False):
                assert OWN in response or b"X-Mark: " + mark in response
            for (_, method), response in zip(requests, responses[:-1], strict=False):
                assert is_whole(response, method)
            # Invalid bytes get a response too, which is one of the proxy itself.
            assert len(responses) <= len(requests) or OWN in responses[-1]

    @precondition(lambda self: not self.has_unseen_close)
    @invariant()
    def an_incomplete_response_continues_or_is_aborted(self) -> None:
        for client in self.clients:
            responses = client.responses()
            if not responses or client.transport.is_over() or client.transport.has_sent_end():
                continue
            requests = client.sent_requests
            mark, method = requests[min(len(responses), len(requests)) - 1]
            if not is_whole(responses[-1], method):
                upstreams = map(self.peer, self.open_upstreams())
                assert any(mark in upstream.received() for upstream in upstreams)

    @precondition(lambda self: not self.has_unseen_close)
    @invariant()
    def an_upstream_is_idle_or_in_use_or_closed(self) -> None:
        protocols = [transport.get_protocol() for transport in self.open_upstreams()]
        connections = [one for one in protocols if isinstance(one, UpstreamConnection)]
        owners = [one.owner for one in connections if one.owner is not None]
        assert len(connections) - len(owners) == len(self.world.services.pool)
        assert len(set(map(id, owners))) == len(owners)

    # The model

    def exchanges(self) -> list[Exchange]:
        """Return the current exchanges."""
        clients = [
            one for one in self.world.services.registry.clients if isinstance(one, Http1Connection)
        ]
        return [one.exchange for one in clients if one.exchange is not None]

    def dials(self) -> list[FakeDial]:
        """Return the current dials."""
        return [dial for dial in self.world.dials if not dial.is_over]

    def open_upstreams(self) -> list[FakeStream]:
        """Return the connections to upstreams that are not closed."""
        opened = [transport for transport in self.world.upstreams if not transport.is_over()]
        for transport in opened:
            self.peer(transport)
        return opened

    def client(self, which: int) -> Peer:
        """Return a client; 0 is the newest."""
        return self.clients[-1 - which % len(self.clients)]

    def any_peer(self, which: int, is_client: bool) -> Peer:
        """Return a client or an open upstream."""
        return (
            self.client(which) if is_client or not self.open_upstreams() else self.upstream(which)
        )

    def upstream(self, which: int) -> Peer:
        """Return an open upstream; 0 is the newest."""
        opened = self.open_upstreams()
        return self.peer(opened[-1 - which % len(opened)])

    def peer(self, transport: FakeStream) -> Peer:
        """Return the upstream of a transport."""
        return self.upstreams.setdefault(id(transport), Peer(transport))


Exchanges.TestCase.settings = settings(stateful_step_count=120)
TestExchangesEqualTheirModel = Exchanges.TestCase
