"""The access log of exchanges and tunnels: each has the line that its record describes."""

import itertools
from collections.abc import Callable

import pytest

from cmux_proxy.observe.access_log import FORMATS
from cmux_proxy.observe.line_block import make_block
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.record import Record
from tests.helpers.fakes import World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
WORKSPACE = "X-Cmux-Workspace-Internal: ws-1"
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
SWITCH = head("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: b")

Script = Callable[[World], None]


def asks(*lines: str, response: bytes = OK, times: int = 1) -> Script:
    """Return a script in which a client sends a request, and gets a response, so many times."""

    def play(world: World) -> None:
        client, upstream = world.ask(head(*lines))
        upstream.arrives(response)
        for _ in range(times - 1):
            client.arrives(head(*lines))
            upstream.arrives(response)

    return play


def opens_tunnel(*lines: str, response: bytes) -> Script:
    """Return a script in which a tunnel carries bytes, and closes."""

    def play(world: World) -> None:
        client, upstream = world.ask(head(*lines))
        upstream.arrives(response)
        client.arrives(b"12345")
        upstream.arrives(b"123")
        client.breaks()
        world.run()

    return play


def sends(data: bytes) -> Script:
    """Return a script in which the proxy responds by itself."""
    return lambda world: world.client().arrives(data)


def is_refused(world: World) -> None:
    """Send a request to a port where nothing listens."""
    world.client().arrives(head("GET /refused HTTP/1.1", "Host: a", ROUTE))
    world.dial().fails()


def leaves(world: World) -> None:
    """Leave before the response."""
    client, _ = world.ask(head("GET /gone HTTP/1.1", "Host: a", ROUTE))
    client.breaks()
    world.run()


SCRIPTS = {
    "a request": asks("GET /a?q=1 HTTP/1.1", "Host: a", ROUTE),
    "a reused connection": asks("GET /a HTTP/1.1", "Host: a", ROUTE, times=2),
    "a workspace": asks("GET /a HTTP/1.1", "Host: a", ROUTE, WORKSPACE),
    "HTTP/1.0": asks("GET /a HTTP/1.0", "Host: a", ROUTE),
    "a long path": asks("GET /" + "a" * 3000 + " HTTP/1.1", "Host: a", ROUTE),
    "a long method": asks("M" * 80 + " /a HTTP/1.1", "Host: a", ROUTE),
    "a refused connection": is_refused,
    "a request without a port": sends(head("GET /a HTTP/1.1", "Host: a")),
    "a malformed request": sends(b"GET\r\n\r\n"),
    "a client that leaves": leaves,
    "an upgrade": opens_tunnel(
        "GET /ws HTTP/1.1", "Host: a", ROUTE, "Connection: upgrade", "Upgrade: b", response=SWITCH
    ),
    "a CONNECT": opens_tunnel("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE, response=b""),
}


def play(script: Script, observer: Observer) -> None:
    """Play a script in a world of its own, with a clock that counts its readings."""
    clock = itertools.count(1)
    observer.clock = lambda: next(clock) / 3
    world = World(None, observer)
    world.peer = "192.0.2.7"
    script(world)


def without_time(line: str) -> str:
    return line[line.index("192.0.2.7") :]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("is_counting", [False, True])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_line_says_what_the_record_says(
    script: Script, is_counting: bool, log_format: str
) -> None:
    records: list[Record] = []
    play(script, Observer(is_counting, on_record=records.append))
    block = make_block(log_format, list, bool)
    play(script, Observer(is_counting, lines=block))
    lines = block.take().decode("ascii").splitlines()
    expected = [
        FORMATS[log_format](record, 0.0).encode("ascii", "backslashreplace").decode()
        for record in records
    ]
    assert [without_time(line) for line in lines] == [without_time(line) for line in expected]
    assert lines


def test_records_are_kept_beside_lines_where_they_are_wanted() -> None:
    records: list[Record] = []
    block = make_block("text", list, bool)
    play(SCRIPTS["a request"], Observer(False, on_record=records.append, lines=block))
    assert len(records) == 1
    assert block.take().count(b"\n") == 1
    observer = Observer(True, lines=block)
    play(is_refused, observer)
    assert len(observer.recent) == 1
    assert block.take().count(b"\n") == 1


def test_the_address_of_a_client_is_asked_for_once() -> None:
    block = make_block("text", list, bool)
    world = World(None, Observer(False, lines=block))
    world.peer = "192.0.2.7"
    request = head("GET /a HTTP/1.1", "Host: a", ROUTE)
    client, upstream = world.ask(request)
    upstream.arrives(OK)
    # A stream may forget its peer once it is lost.
    world.peer = ""
    client.arrives(request)
    upstream.arrives(OK)
    assert block.take().count(b" 192.0.2.7 request ") == 2
