"""The wait for a request head: how long a client may be idle, and how long a head may take."""

import pytest

from cmux_proxy import Config, Timeouts
from tests.helpers.fakes import World, statuses
from tests.helpers.script import head

GET = head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 80")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
TIMES = Config(timeouts=Timeouts(head=10, idle=20))


@pytest.mark.parametrize("part", [b"G", GET[:-1]], ids=["one byte", "all but one"])
def test_an_unfinished_head_gets_408(part: bytes) -> None:
    world = World(TIMES)
    client = world.client()
    world.walk(5)
    client.arrives(part)
    world.walk(9)
    assert client.got == b""
    world.walk(1)
    assert statuses(client) == [408]
    assert client.has_sent_end()


def test_more_bytes_of_a_head_do_not_extend_its_deadline() -> None:
    world = World(TIMES)
    client = world.client()
    for _ in range(3):
        client.arrives(b"G")
        world.walk(4)
    assert statuses(client) == [408]


def test_empty_lines_do_not_keep_a_connection_open() -> None:
    world = World(TIMES)
    client = world.client()
    for _ in range(6):
        client.arrives(b"\r\n")
        world.walk(4)
    assert client.is_over()


def test_a_complete_head_has_no_deadline() -> None:
    world = World(TIMES)
    client = world.client()
    client.arrives(GET[:5])
    world.walk(9)
    client.arrives(GET[5:])
    world.walk(4)
    world.dial().succeeds().arrives(OK)
    assert client.got == OK
    world.walk(19)
    assert not client.is_over()
    world.walk(1)
    assert client.is_over()
    assert client.got == OK


def test_without_timeouts_there_is_no_deadline() -> None:
    world = World(Config(timeouts=Timeouts(head=None, idle=None)))
    client, other = world.client(), world.client()
    client.arrives(b"GET ")
    world.walk(1e9)
    assert not client.is_over()
    assert not other.is_over()


def test_an_end_within_a_head_closes() -> None:
    client = World().client()
    client.arrives(GET[:-1])
    client.ends()
    assert client.is_over()
    assert client.got == b""


def test_an_end_within_a_head_closes_after_the_response_before_it() -> None:
    world = World(TIMES)
    client, upstream = world.ask(GET + GET[:-1])
    client.ends()
    upstream.arrives(OK)
    assert client.is_over()
    assert client.got == OK


def test_a_head_after_one_that_came_in_parts_is_waited_for_and_found() -> None:
    world = World(TIMES)
    client = world.client()
    client.arrives(GET[:-2] + b"A: longer")
    client.arrives(b"\r\n\r\n")
    upstream = world.dial().succeeds()
    upstream.arrives(OK)
    client.arrives(GET[:1])
    client.arrives(GET[1:])
    upstream.arrives(OK)
    assert client.got == OK + OK
    client.arrives(GET[:1])
    world.walk(10)
    assert statuses(client) == [200, 200, 408]
