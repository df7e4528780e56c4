"""Exchanges against a model: whose bytes are whose, one answer to a request, nothing in two places.

Several clients ask several upstreams, each request with a mark of its own that everything about it
carries, and whatever may happen to a connection happens in between. That an exchange ends once,
and how little is held meanwhile, is in tests/relay/test_exchange_orders.py.
"""

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy.downstream.http1_connection import ClientConnection
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.upstream.connection import UpstreamConnection
from tests.helpers.fakes import FakeDial, FakeStream, World
from tests.helpers.marked import (
    ANSWERS,
    MARK,
    OWN,
    REQUESTS,
    ROUTE,
    Peer,
    answer_with,
    is_whole,
    mark_of,
)
from tests.helpers.script import head

# Whose turn it is: 0 is the last who has come.
numbers = st.integers(0, 2)
# How much of a message comes at once: all of it, up to the middle of most bodies, or so much.
places = st.one_of(st.just(1000), st.just(60), st.integers(0, 120))
LEAVES: Final = st.sampled_from(["ends", "breaks"])
READS: Final = st.sampled_from(["stops_reading", "reads_again"])


class Exchanges(RuleBasedStateMachine):
    """Clients, upstreams, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        timeouts = Timeouts(head=10, idle=20, response=30, upstream_idle=40, linger=5)
        self.world = World(Config(timeouts=timeouts, limits=Limits(idle_upstream_connections=2)))
        self.clients: list[Peer] = []
        self.upstreams: dict[int, Peer] = {}
        self.count = 0
        # What an upstream gets of each request.
        self.sent_on: dict[bytes, bytes] = {}
        # Whether a connection is lost and the proxy may not know yet.
        self.is_untold = False

    # What may happen

    @initialize()
    def begin(self) -> None:
        self.somebody_connects()
        self.somebody_connects()

    def somebody_connects(self) -> Peer:
        client = Peer(self.world.client())
        self.clients.append(client)
        return client

    @rule(
        kind=st.sampled_from(sorted(REQUESTS)), which=numbers, most=places, far=st.integers(0, 3),
        told=st.sampled_from(ANSWERS), told_most=places,
    )  # fmt: skip
    def a_client_asks(
        self, kind: str, which: int, most: int, far: int, told: str, told_most: int
    ) -> None:
        """Ask; mostly an upstream takes the request then, and answers it in the same step."""
        client = self.client(which)
        if client.transport.is_over() or client.transport.has_sent_end():
            client = self.somebody_connects()
        if client.rest:
            return
        client.say(self.new_request(client, kind), most)
        if far > 0:
            self.a_dial_ends("succeeds")
        if far > 1 and self.open_upstreams():
            self.an_upstream_answers(told, 0, told_most)

    def new_request(self, client: Peer, kind: str) -> bytes:
        self.count += 1
        mark = mark_of(self.count)
        method, fields, body = REQUESTS[kind]
        client.asked.append((mark, method))
        line = f"{method} /{mark.decode()} HTTP/1.1"
        content = body % mark if body else b""
        kept = [each for each in fields if not each.startswith("Connection:")]
        self.sent_on[mark] = head(line, "Host: a", *kept) + content
        return head(line, "Host: a", ROUTE, *fields) + content

    @rule(which=numbers, most=places, is_client=st.booleans())
    def somebody_goes_on(self, which: int, most: int, is_client: bool) -> None:
        peers = self.clients if is_client else list(map(self.peer, self.open_upstreams()))
        waiting = [peer for peer in peers if peer.rest]
        if waiting:
            peer = waiting[-1 - which % len(waiting)]
            # What comes when the next request is there would be its answer.
            is_due = is_client or len(peer.requests()) == peer.answered
            peer.say(peer.rest if is_due else b"", most)

    @rule(how=st.sampled_from(["succeeds", "succeeds", "fails", "is_unanswered"]))
    def a_dial_ends(self, how: str) -> None:
        """Let the dials end that are under way; others may begin then, and some be given up."""
        for dial in self.dials():
            # One whose socket is open cannot be silent any more.
            if not dial.is_over and (dial.is_opening or how != "is_unanswered"):
                getattr(dial, how)()

    @rule(count=st.integers(1, 6), far=st.integers(0, 2))
    def several_come_at_once(self, count: int, far: int) -> None:
        """Ask more than may be dialled for, so that some have to wait for the others."""
        for _ in range(count):
            client = self.somebody_connects()
            client.say(self.new_request(client, "get"), 1000)
        if far > 0:
            self.a_dial_ends("succeeds")
        if far > 1 and self.open_upstreams():
            self.an_upstream_answers("length", 0, 1000)

    @precondition(lambda self: self.open_upstreams())
    @rule(kind=st.sampled_from(ANSWERS), which=numbers, most=places)
    def an_upstream_answers(self, kind: str, which: int, most: int) -> None:
        upstream = self.upstream(which)
        asked = upstream.requests()
        if upstream.rest or len(asked) == upstream.answered:
            return
        upstream.answered = len(asked)
        [mark, *_] = MARK.findall(asked[-1])
        is_head = asked[-1].startswith(b"HEAD")
        upstream.say(answer_with(kind, mark, is_head), most)
        # What comes by and by may not be there yet when the next request comes.
        upstream.is_spoilt |= kind == "too-much" and not is_head and not upstream.rest

    @rule(what=READS, which=numbers, is_client=st.booleans())
    def somebody_reads_or_not(self, what: str, which: int, is_client: bool) -> None:
        getattr(self.anybody(which, is_client).transport, what)()

    @rule(what=LEAVES, which=numbers, is_client=st.booleans(), is_told=st.booleans())
    def somebody_leaves(self, what: str, which: int, is_client: bool, is_told: bool) -> None:
        getattr(self.anybody(which, is_client).transport, what)()
        self.is_untold = True
        if is_told:
            self.the_loop_runs()

    @rule()
    def the_loop_runs(self) -> None:
        self.world.run()
        self.is_untold = False

    @rule(seconds=st.sampled_from([1.0, 1.0, 1.0, 11.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.walk(seconds)

    @rule(dice=st.integers(0, 30))
    def the_proxy_drains(self, dice: int) -> None:
        if dice == 30:
            self.world.context.is_draining = self.world.context.is_refusing = True
            for timed in list(self.world.context.clients):
                timed.drain()

    # What has to hold

    @invariant()
    def no_byte_is_on_the_wrong_side(self) -> None:
        for client in self.clients:
            own = {mark for mark, _ in client.asked}
            assert set(MARK.findall(client.heard())) <= own
        for upstream in self.upstreams.values():
            for told in upstream.requests():
                if b"\r\nUpgrade: " in told:
                    # From here on it may be a tunnel, and anything may come.
                    break
                [mark] = set(MARK.findall(told))
                assert self.sent_on[mark].startswith(told)

    @invariant()
    def nobody_waits_while_a_connection_is_idle(self) -> None:
        waiters = [one._waiter for one in self.exchanges()]
        idle = len(self.world.context.pool)
        assert not idle or all(one is None or one.needs_fresh for one in waiters)

    @invariant()
    def whoever_waits_is_dialled_for_or_will_be(self) -> None:
        waiting = [one for one in self.exchanges() if one._waiter is not None]
        assert not waiting or self.dials() or self.world.loop.timers

    @invariant()
    def who_has_said_too_much_is_asked_no_more(self) -> None:
        for upstream in self.upstreams.values():
            if upstream.is_spoilt:
                assert len(upstream.requests()) == upstream.answered

    @invariant()
    def a_request_has_one_answer_at_most_and_its_own(self) -> None:
        for client in self.clients:
            answers = client.answers()
            for (mark, _), told in zip(client.asked, answers, strict=False):
                assert OWN in told or b"X-Mark: " + mark in told
            for (_, method), told in zip(client.asked, answers[:-1], strict=False):
                assert is_whole(told, method)
            # What is no request has an answer too, but one of the proxy's own.
            assert len(answers) <= len(client.asked) or OWN in answers[-1]

    @precondition(lambda self: not self.is_untold)
    @invariant()
    def half_an_answer_goes_on_or_is_cut_off(self) -> None:
        for client in self.clients:
            answers = client.answers()
            if not answers or client.transport.is_over() or client.transport.has_sent_end():
                continue
            mark, method = client.asked[min(len(answers), len(client.asked)) - 1]
            if not is_whole(answers[-1], method):
                assert any(mark in peer.heard() for peer in map(self.peer, self.open_upstreams()))

    @precondition(lambda self: not self.is_untold)
    @invariant()
    def an_upstream_is_idle_or_somebodys_or_closed(self) -> None:
        open_ones = [each.get_protocol() for each in self.open_upstreams()]
        connections = [each for each in open_ones if isinstance(each, UpstreamConnection)]
        owners = [each.owner for each in connections if each.owner is not None]
        assert len(connections) - len(owners) == len(self.world.context.pool)
        assert len(set(map(id, owners))) == len(owners)

    # The model

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges that are under way."""
        clients = [one for one in self.world.context.clients if isinstance(one, ClientConnection)]
        return [one._exchange for one in clients if one._exchange is not None]

    def dials(self) -> list[FakeDial]:
        """Return the dials that are under way."""
        return [dial for dial in self.world.dials if not dial.is_over]

    def open_upstreams(self) -> list[FakeStream]:
        """Return the connections to upstreams that are not closed."""
        opened = [each for each in self.world.upstreams if not each.is_over()]
        for each in opened:
            self.peer(each)
        return opened

    def client(self, which: int) -> Peer:
        """Return a client, 0 for the last."""
        return self.clients[-1 - which % len(self.clients)]

    def anybody(self, which: int, is_client: bool) -> Peer:
        """Return a client or an open upstream."""
        return (
            self.client(which) if is_client or not self.open_upstreams() else self.upstream(which)
        )

    def upstream(self, which: int) -> Peer:
        """Return an open upstream, 0 for the last."""
        opened = self.open_upstreams()
        return self.peer(opened[-1 - which % len(opened)])

    def peer(self, transport: FakeStream) -> Peer:
        """Return the upstream behind a transport."""
        return self.upstreams.setdefault(id(transport), Peer(transport))


Exchanges.TestCase.settings = settings(stateful_step_count=120)
TestExchangesDoWhatTheirModelDoes = Exchanges.TestCase
