"""Every event in every state of an exchange: no pair is undefined.

A row gives the status that the client has received, the outcome of the exchange, and the state of
both connections. The streams are fakes (`tests/helpers/fakes.py`): no socket, no event loop, no
real time. `test_exchange_orders.py` tests orders of events, tests/network the bytes on the wire.
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


class Setup:
    """A client whose request is in progress, and its upstream, if it is connected."""

    def __init__(self, request: bytes, response: bytes | None) -> None:
        timeouts = Timeouts(body=10, response=10, response_idle=10, idle=None, head=None)
        self.world = World(Config(timeouts=timeouts))
        self.client = self.world.client()
        self.client.arrives(request)
        self.upstream: FakeStream | None = None
        if response is not None:
            self.upstream = self.world.dial().succeeds()
            if response:
                self.upstream.arrives(response)

    def summary(self) -> str:
        """Return the status, the outcome and the state of both connections."""
        world = self.world
        outcomes = [
            outcome for outcome in Outcome for _ in range(world.services.tally.count(outcome))
        ]
        assert len(outcomes) <= 1
        ended = outcomes[0].name.lower().replace("_", " ") if outcomes else "in progress"
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
    "response started": (GET, LENGTH + b"ok"),
    "response started, body open": (POST, LENGTH + b"ok"),
    "response until close": (GET, UNTIL_CLOSE + b"ok"),
    "response until close, body open": (POST, UNTIL_CLOSE + b"ok"),
    "response complete, body open": (POST, LENGTH + b"okok"),
}


def upstream_of(setup: Setup) -> FakeStream:
    """Return the upstream, which must be connected."""
    assert setup.upstream is not None
    return setup.upstream


def close(setup: Setup) -> None:
    """Abort all clients, as the proxy's close does."""
    for timed in list(setup.world.services.registry.clients):
        timed.abort()


EVENTS: dict[str, Callable[[Setup], object]] = {
    "client sends the end of the body": lambda setup: setup.client.arrives(b"dy"),
    "client ends": lambda setup: setup.client.ends(),
    "client is lost": lambda setup: setup.client.breaks(),
    "dial succeeds": lambda setup: setup.world.dial().succeeds(),
    "dial fails": lambda setup: setup.world.dial().fails(),
    "upstream responds": lambda setup: upstream_of(setup).arrives(LENGTH + b"okok"),
    "upstream sends more": lambda setup: upstream_of(setup).arrives(b"ok"),
    "upstream ends": lambda setup: upstream_of(setup).ends(),
    "upstream is lost": lambda setup: upstream_of(setup).breaks(),
    "time passes": lambda setup: setup.world.walk(20),
    "the proxy closes": close,
}

TABLE = {
    "dialling": {
        "client sends the end of the body": "in progress, client open, upstream - dialling",
        "client ends": "in progress, client open, upstream - dialling",
        "client is lost": "client gone, client closed, upstream -",
        "dial succeeds": "in progress, client open, upstream open",
        "dial fails": "502, unavailable, client open, upstream -",
        "time passes": "504, unavailable, client open, upstream -",
        "the proxy closes": "client gone, client closed, upstream -",
    },
    "dialling, body open": {
        "client sends the end of the body": "in progress, client open, upstream - dialling",
        "client ends": "in progress, client open, upstream - dialling",
        "client is lost": "client gone, client closed, upstream -",
        "dial succeeds": "in progress, client open, upstream open",
        "dial fails": "502, unavailable, client lingers, upstream -",
        "time passes": "504, unavailable, client closed, upstream -",
        "the proxy closes": "client gone, client closed, upstream -",
    },
    "waiting": {
        "client sends the end of the body": "in progress, client open, upstream open",
        "client ends": "in progress, client open, upstream ended",
        "client is lost": "client gone, client closed, upstream dropped",
        "upstream responds": "200, complete, client open, upstream pooled",
        "upstream sends more": "502, unavailable, client open, upstream dropped",
        "upstream ends": "502, unavailable, client open, upstream closed",
        "upstream is lost": "502, unavailable, client open, upstream closed",
        "time passes": "504, unavailable, client open, upstream dropped",
        "the proxy closes": "client gone, client closed, upstream dropped",
    },
    "waiting, body open": {
        "client sends the end of the body": "in progress, client open, upstream open",
        "client ends": "client gone, client closed, upstream dropped",
        "client is lost": "client gone, client closed, upstream dropped",
        "upstream responds": "200, in progress, client open, upstream open",
        "upstream sends more": "502, unavailable, client lingers, upstream dropped",
        "upstream ends": "502, unavailable, client lingers, upstream closed",
        "upstream is lost": "502, unavailable, client lingers, upstream closed",
        "time passes": "408, refused, client lingers, upstream dropped",
        "the proxy closes": "client gone, client closed, upstream dropped",
    },
    "half a head": {
        "client sends the end of the body": "in progress, client open, upstream open",
        "client ends": "in progress, client open, upstream ended",
        "client is lost": "client gone, client closed, upstream dropped",
        "upstream responds": "502, unavailable, client open, upstream dropped",
        "upstream sends more": "in progress, client open, upstream open",
        "upstream ends": "502, unavailable, client open, upstream closed",
        "upstream is lost": "502, unavailable, client open, upstream closed",
        "time passes": "504, unavailable, client open, upstream dropped",
        "the proxy closes": "client gone, client closed, upstream dropped",
    },
    "response started": {
        "client sends the end of the body": "200, in progress, client open, upstream open",
        "client ends": "200, in progress, client open, upstream ended",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream responds": "200, complete, client open, upstream closed",
        "upstream sends more": "200, complete, client open, upstream pooled",
        "upstream ends": "200, broken off, client closed, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "response started, body open": {
        "client sends the end of the body": "200, in progress, client open, upstream open",
        "client ends": "200, client gone, client closed, upstream dropped",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream responds": "200, complete, client lingers, upstream dropped",
        "upstream sends more": "200, in progress, client open, upstream open",
        "upstream ends": "200, broken off, client closed, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "response until close": {
        "client sends the end of the body": "200, in progress, client open, upstream open",
        "client ends": "200, in progress, client open, upstream ended",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream responds": "200, in progress, client open, upstream open",
        "upstream sends more": "200, in progress, client open, upstream open",
        "upstream ends": "200, complete, client open, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "response until close, body open": {
        "client sends the end of the body": "200, in progress, client open, upstream open",
        "client ends": "200, client gone, client closed, upstream dropped",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream responds": "200, in progress, client open, upstream open",
        "upstream sends more": "200, in progress, client open, upstream open",
        "upstream ends": "200, complete, client lingers, upstream closed",
        "upstream is lost": "200, broken off, client closed, upstream closed",
        "time passes": "200, broken off, client closed, upstream dropped",
        "the proxy closes": "200, client gone, client closed, upstream dropped",
    },
    "response complete, body open": {
        "client sends the end of the body": "200, complete, client open, upstream closed",
        "client ends": "200, client gone, client closed, upstream dropped",
        "client is lost": "200, client gone, client closed, upstream dropped",
        "upstream responds": "200, complete, client lingers, upstream dropped",
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
def test_an_event_has_the_expected_result(state: str, event: str, row: str) -> None:
    setup = Setup(*STATES[state])
    EVENTS[event](setup)
    setup.world.run()
    assert setup.summary() == row


def test_the_table_has_all_pairs_of_state_and_event() -> None:
    for state, rows in TABLE.items():
        side = "dial " if state.startswith("dialling") else "upstream "
        other = "upstream " if state.startswith("dialling") else "dial "
        assert any(event.startswith(side) for event in rows)
        assert set(rows) == {event for event in EVENTS if not event.startswith(other)}
    assert set(TABLE) == set(STATES)


@pytest.mark.parametrize("state", STATES)
def test_a_second_event_never_ends_an_exchange_twice(state: str) -> None:
    for first in TABLE[state]:
        for second in TABLE[state]:
            if {first, second} & {"dial succeeds", "dial fails"}:
                continue
            setup = Setup(*STATES[state])
            EVENTS[first](setup)
            EVENTS[second](setup)
            setup.world.run()
            close(setup)
            setup.world.run()
            tally = setup.world.services.tally
            assert sum(tally.count(outcome) for outcome in Outcome) <= 2, (first, second)
            assert not setup.world.services.registry.clients


def test_a_connection_whose_client_has_disconnected_is_closed() -> None:
    setup = Setup(GET, None)
    dial = setup.world.dial()
    dial.opens()
    setup.client.breaks()
    setup.world.run()
    assert not dial.is_over
    upstream = dial.succeeds()
    assert upstream.is_over()
    assert upstream.got == b""


def test_a_dial_that_fails_after_its_client_has_disconnected_is_ignored() -> None:
    setup = Setup(GET, None)
    dial = setup.world.dial()
    dial.opens()
    setup.client.breaks()
    setup.world.run()
    dial.fails()
    assert setup.client.got == b""
    assert setup.world.services.tally.count(Outcome.CLIENT_GONE) == 1
    assert setup.world.services.tally.count(Outcome.UNAVAILABLE) == 0


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("coding", ["Content-Length: 9", "Transfer-Encoding: chunked", ""])
def test_an_incomplete_response_is_reset_only_if_a_close_would_look_complete(
    coding: str, version: str
) -> None:
    setup = Setup(head(f"GET / HTTP/{version}", "Host: a", ROUTE), b"")
    upstream = upstream_of(setup)
    upstream.arrives(head("HTTP/1.1 200 OK", *([coding] if coding else [])) + b"2\r\nok")
    upstream.breaks()
    setup.world.run()
    would_look_complete = version == "1.0" and not coding.startswith("Content-Length")
    assert setup.summary() == (
        f"200, broken off, client {'reset' if would_look_complete else 'closed'}, upstream closed"
    )


def test_a_complete_response_that_the_client_does_not_read_does_not_pause_its_upstream() -> None:
    setup = Setup(GET, b"")
    setup.client.stops_reading()
    upstream_of(setup).arrives(LENGTH + b"okok")
    # The exchange is over, and its upstream connection serves other clients.
    assert upstream_of(setup).is_reading()
    assert setup.world.services.tally.count(Outcome.COMPLETE) == 1
    assert not setup.client.is_over()


def test_a_malformed_body_after_a_complete_response_does_not_reset_the_connection() -> None:
    """A reset could destroy a part of the response that the client has not read yet."""
    request = head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
    setup = Setup(request, LENGTH + b"okok")
    setup.client.arrives(b"x\r\n")
    setup.world.run()
    assert setup.summary() == "200, complete, client lingers, upstream dropped"


@pytest.mark.parametrize("is_early", [True, False])
def test_a_connection_whose_request_is_not_sent_completely_is_not_pooled(is_early: bool) -> None:
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
