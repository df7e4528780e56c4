"""Every state of an exchange meets every event: no pair is undefined, and each does what it should.

A row says what the client has got, how the exchange stands or has ended, and what has become of
either connection. In what orders events may come is tested in `test_exchange_orders.py`, what they
do on the wire in tests/network.
"""

from collections.abc import Callable

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.observe.outcome import Outcome
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4") + b"bo"
LENGTH = head("HTTP/1.1 200 OK", "Content-Length: 4")
UNTIL_CLOSE = head("HTTP/1.1 200 OK")


class Scene:
    """A client with a request under way, and its upstream, if it is there."""

    def __init__(self, request: bytes, answer: bytes | None) -> None:
        timeouts = Timeouts(body=10, response=10, response_idle=10, idle=None, head=None)
        self.world = World(Config(timeouts=timeouts))
        self.client = self.world.client()
        self.client.arrives(request)
        self.upstream: FakeStream | None = None
        if answer is not None:
            self.upstream = self.world.dial().succeeds()
            if answer:
                self.upstream.arrives(answer)

    def summary(self) -> str:
        """Return what the client has got and how everybody stands."""
        world = self.world
        outcomes = [one for one in Outcome for _ in range(world.services.tally.count(one))]
        assert len(outcomes) <= 1
        ended = outcomes[0].name.lower().replace("_", " ") if outcomes else "under way"
        parts = [self.client.got[9:12].decode()] if self.client.got else []
        parts += [ended, f"client {self._client()}", f"upstream {self._upstream()}"]
        is_dialling = not all(dial.is_over for dial in world.dials)
        return ", ".join(parts) + (" dialling" if is_dialling else "")

    def _client(self) -> str:
        client = self.client
        if client.socket.resets_on_close:
            return "reset"
        if client.is_over():
            return "closed"
        return "lingers" if client.has_sent_end() else "open"

    def _upstream(self) -> str:
        upstream = self.upstream
        if upstream is None:
            return "open" if self.world.upstreams else "-"
        if len(self.world.services.pool):
            return "pooled"
        if upstream.is_over():
            return "dropped" if upstream.was_aborted() else "closed"
        return "ended" if upstream.has_sent_end() else "open"


STATES: dict[str, tuple[bytes, bytes | None]] = {
    "dialling": (GET, None),
    "dialling, body open": (POST, None),
    "waiting": (GET, b""),
    "waiting, body open": (POST, b""),
    "half a head": (GET, LENGTH[:10]),
    "answer begun": (GET, LENGTH + b"ok"),
    "answer begun, body open": (POST, LENGTH + b"ok"),
    "answer until close": (GET, UNTIL_CLOSE + b"ok"),
    "answer until close, body open": (POST, UNTIL_CLOSE + b"ok"),
    "answer whole, body open": (POST, LENGTH + b"okok"),
}


def upstream_of(scene: Scene) -> FakeStream:
    """Return the upstream, which has to be there."""
    assert scene.upstream is not None
    return scene.upstream


def close(scene: Scene) -> None:
    """Let the proxy close."""
    for timed in list(scene.world.services.registry.clients):
        timed.abort()


EVENTS: dict[str, Callable[[Scene], object]] = {
    "client sends the rest": lambda scene: scene.client.arrives(b"dy"),
    "client ends": lambda scene: scene.client.ends(),
    "client is lost": lambda scene: scene.client.breaks(),
    "dial succeeds": lambda scene: scene.world.dial().succeeds(),
    "dial fails": lambda scene: scene.world.dial().fails(),
    "upstream answers": lambda scene: upstream_of(scene).arrives(LENGTH + b"okok"),
    "upstream sends more": lambda scene: upstream_of(scene).arrives(b"ok"),
    "upstream ends": lambda scene: upstream_of(scene).ends(),
    "upstream is lost": lambda scene: upstream_of(scene).breaks(),
    "time passes": lambda scene: scene.world.walk(20),
    "the proxy closes": close,
}

TABLE = {
    "dialling": {
        "client sends the rest": "under way, client open, upstream - dialling",
        "client ends": "under way, client open, upstream - dialling",
        "client is lost": "client gone, client closed, upstream -",
        "dial succeeds": "under way, client open, upstream open",
        "dial fails": "502, unavailable, client open, upstream -",
        "time passes": "504, unavailable, client open, upstream -",
        "the proxy closes": "client gone, client closed, upstream -",
    },
    "dialling, body open": {
        "client sends the rest": "under way, client open, upstream - dialling",
        "client ends": "under way, client open, upstream - dialling",
        "client is lost": "client gone, client closed, upstream -",
        "dial succeeds": "under way, client open, upstream open",
        "dial fails": "502, unavailable, client lingers, upstream -",
        "time passes": "504, unavailable, client closed, upstream -",
        "the proxy closes": "client gone, client closed, upstream -",
    },
    "waiting": {
        "client sends the rest": "under way, client open, upstream open",
        "client ends": "under way, client open, upstream ended",
        "client is lost": "client gone, client closed, upstream dropped",
        "upstream answers": "200, complete, client open, upstream pooled",
        "upstream sends more": "502, unavailable, client open, upstream dropped",
        "upstream ends": "502, unavailable, client open, upstream closed",
        "upstream is lost": "502, unavailable, client open, upstream closed",
        "time passes": "504, unavailable, client open, upstream dropped",
        "the proxy closes": "client gone, client closed, upstream dropped",
    },
    "waiting, body open": {
        "client sends the rest": "under way, client open, upstream open",
        "client ends": "client gone, client closed, upstream dropped",
        "client is lost": "client gone, client closed, upstream dropped",
        "upstream answers": "200, under way, client open, upstream open",
        "upstream sends more": "502, unavailable, client lingers, upstream dropped",
        "upstream ends": "502, unavailable, client lingers, upstream closed",
        "upstream is lost": "502, unavailable, client lingers, upstream closed",
        "time passes": "408, refused, client lingers, upstream dropped",
        "the proxy closes": "client gone, client closed, upstream dropped",
    },
    "half a head": {
        "client sends the rest": "under way, client open, upstream open",
        "client ends": "under way, client open, upstream ended",
        "client is lost": "client gone, client closed, upstream dropped",
        "upstream answers": "502, unavailable, client open, upstream dropped",
        "upstream sends more": "under way, client open, upstream open",
        "upstream ends": "502, unavailable, client open, upstream closed",
        "upstream is lost": "502, unavailable, client open, upstream closed",
        "time passes": "504, unavailable, client open, upstream dropped",
        "the proxy closes": "client gone, client closed, upstream dropped",
    },
    "answer begun": {
        "client sends the rest": "200, under way, client open, upstream open",
        "client ends": "200, under way, client open, upstream ended",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream answers": "200, complete, client open, upstream closed",
        "upstream sends more": "200, complete, client open, upstream pooled",
        "upstream ends": "200, broken off, client closed, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "answer begun, body open": {
        "client sends the rest": "200, under way, client open, upstream open",
        "client ends": "200, client gone, client closed, upstream dropped",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream answers": "200, complete, client lingers, upstream dropped",
        "upstream sends more": "200, under way, client open, upstream open",
        "upstream ends": "200, broken off, client closed, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "answer until close": {
        "client sends the rest": "200, under way, client open, upstream open",
        "client ends": "200, under way, client open, upstream ended",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream answers": "200, under way, client open, upstream open",
        "upstream sends more": "200, under way, client open, upstream open",
        "upstream ends": "200, complete, client open, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "answer until close, body open": {
        "client sends the rest": "200, under way, client open, upstream open",
        "client ends": "200, client gone, client closed, upstream dropped",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream answers": "200, under way, client open, upstream open",
        "upstream sends more": "200, under way, client open, upstream open",
        "upstream ends": "200, complete, client lingers, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "answer whole, body open": {
        "client sends the rest": "200, complete, client open, upstream closed",
        "client ends": "200, client gone, client closed, upstream dropped",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream answers": "200, complete, client lingers, upstream dropped",
        "upstream sends more": "200, complete, client lingers, upstream dropped",
        "upstream ends": "200, complete, client lingers, upstream closed",
        "upstream is lost": "200, complete, client lingers, upstream closed",
        "time passes": "200, complete, client lingers, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
}
ROWS = [(state, event, row) for state, rows in TABLE.items() for event, row in rows.items()]


@pytest.mark.parametrize(
    ("state", "event", "row"), ROWS, ids=[f"{state} | {event}" for state, event, _row in ROWS]
)
def test_every_state_has_an_answer_to_every_event(state: str, event: str, row: str) -> None:
    scene = Scene(*STATES[state])
    EVENTS[event](scene)
    scene.world.run()
    assert scene.summary() == row


def test_no_pair_of_state_and_event_is_missing() -> None:
    for state, rows in TABLE.items():
        side = "dial " if state.startswith("dialling") else "upstream "
        other = "upstream " if state.startswith("dialling") else "dial "
        assert any(event.startswith(side) for event in rows)
        assert set(rows) == {event for event in EVENTS if not event.startswith(other)}
    assert set(TABLE) == set(STATES)


@pytest.mark.parametrize("state", STATES)
def test_an_exchange_that_is_over_absorbs_whatever_comes_late(state: str) -> None:
    for first in TABLE[state]:
        for second in TABLE[state]:
            if {first, second} & {"dial succeeds", "dial fails"}:
                continue
            scene = Scene(*STATES[state])
            EVENTS[first](scene)
            EVENTS[second](scene)
            scene.world.run()
            close(scene)
            scene.world.run()
            tally = scene.world.services.tally
            assert sum(tally.count(one) for one in Outcome) <= 2, (first, second)
            assert not scene.world.services.registry.clients


def test_a_dial_that_succeeds_when_nobody_waits_any_more_is_closed() -> None:
    scene = Scene(GET, None)
    dial = scene.world.dial()
    dial.opens()
    scene.client.breaks()
    scene.world.run()
    assert not dial.is_over
    upstream = dial.succeeds()
    assert upstream.is_over()
    assert upstream.got == b""


def test_a_dial_that_fails_too_late_is_nothing_to_anybody() -> None:
    scene = Scene(GET, None)
    dial = scene.world.dial()
    dial.opens()
    scene.client.breaks()
    scene.world.run()
    dial.fails()
    assert scene.client.got == b""
    assert scene.world.services.tally.count(Outcome.CLIENT_GONE) == 1
    assert scene.world.services.tally.count(Outcome.UNAVAILABLE) == 0


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("coding", ["Content-Length: 9", "Transfer-Encoding: chunked", ""])
def test_a_broken_off_answer_is_reset_only_where_its_end_would_look_complete(
    coding: str, version: str
) -> None:
    scene = Scene(head(f"GET / HTTP/{version}", "Host: a", ROUTE), b"")
    upstream = upstream_of(scene)
    upstream.arrives(head("HTTP/1.1 200 OK", *([coding] if coding else [])) + b"2\r\nok")
    upstream.breaks()
    scene.world.run()
    would_look_complete = version == "1.0" and not coding.startswith("Content-Length")
    assert scene.summary() == (
        f"200, broken off, client {'reset' if would_look_complete else 'closed'}, upstream closed"
    )


def test_a_response_that_is_not_taken_keeps_its_upstream_from_being_read() -> None:
    scene = Scene(GET, b"")
    scene.client.stops_reading()
    upstream_of(scene).arrives(LENGTH + b"okok")
    # The exchange is over, and its connection serves others, who are read.
    assert upstream_of(scene).is_reading()
    assert scene.world.services.tally.count(Outcome.COMPLETE) == 1
    assert not scene.client.is_over()


def test_a_body_that_turns_bad_behind_a_whole_answer_leaves_the_answer_alone() -> None:
    """To break it off would reset the connection while the client may not have read it all."""
    request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
    scene = Scene(request, LENGTH + b"okok")
    scene.client.arrives(b"x\r\n")
    scene.world.run()
    assert scene.summary() == "200, complete, client lingers, upstream dropped"


@pytest.mark.parametrize("is_early", [True, False])
def test_a_connection_whose_request_has_not_left_is_not_given_back(is_early: bool) -> None:
    world = World()
    client, upstream = world.ask(head("PUT / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4"))
    upstream.stops_reading()
    if is_early:
        upstream.arrives(LENGTH + b"okok")
    client.arrives(b"body")
    if not is_early:
        upstream.arrives(LENGTH + b"okok")
    assert len(world.services.pool) == 0
    assert upstream.is_over()
    assert not client.is_over()
