"""The timeout of an exchange: a slow peer is waited for, a peer that reads nothing is not.

Without sockets, an event loop and real time: see tests/helpers/fakes.py.
"""

from cmux_proxy import Config, Timeouts
from cmux_proxy.observe.outcome import Outcome
from tests.helpers.fakes import World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
POST = head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 1000")
LENGTH = head("HTTP/1.1 200 OK", "Content-Length: 1000")


def world() -> World:
    """Return a worker whose exchanges may stand still for ten seconds."""
    return World(Config(timeouts=Timeouts(body=10, response_idle=10)))


def test_a_client_that_reads_slowly_keeps_its_response() -> None:
    worker = world()
    client, upstream = worker.ask(GET)
    client.stops_reading()
    upstream.arrives(LENGTH + b"x" * 100)
    for _ in range(3):
        client.reads_a_little()
        worker.walk(10)
    assert not client.is_over()
    worker.walk(10)
    assert client.is_over()
    assert worker.services.tally.count(Outcome.BROKEN_OFF) == 1


def test_an_upstream_that_reads_slowly_keeps_its_request() -> None:
    worker = world()
    client, upstream = worker.ask(POST)
    upstream.stops_reading()
    client.arrives(b"x" * 100)
    for _ in range(3):
        upstream.reads_a_little()
        worker.walk(10)
    assert not upstream.is_over()
    worker.walk(10)
    assert client.got.startswith(b"HTTP/1.1 504 ")


def test_a_peer_that_reads_again_gets_the_whole_timeout() -> None:
    worker = world()
    client, upstream = worker.ask(GET)
    client.stops_reading()
    upstream.arrives(LENGTH + b"x" * 100)
    client.reads_again()
    worker.walk(9)
    upstream.arrives(b"x")
    worker.walk(9)
    assert not client.is_over()
    worker.walk(1)
    assert client.is_over()
