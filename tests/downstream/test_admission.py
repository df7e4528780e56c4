"""Who may connect, without sockets."""

import socket
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from cmux_proxy import Access, Config, Limits
from cmux_proxy.downstream.admission import Admission
from cmux_proxy.relay.failures import CLIENT_NOT_ALLOWED, TOO_MANY_CLIENTS
from tests.helpers.fakes import World
from tests.helpers.script import head

UNIX: Final = SimpleNamespace(family=socket.AF_UNIX)


class Peer:
    """A transport of which nothing but the peer's address is known."""

    def __init__(self, host: str | None) -> None:
        self._host = host

    def get_extra_info(self, name: str) -> object:
        if self._host == "unix:" and name == "socket":
            return UNIX
        return None if self._host is None or name != "peername" else (self._host, 1)


def admission(clients: list[str] | None = None, most: int | None = None) -> Admission:
    made = Admission.from_config(
        Config(access=Access(allow_clients=clients or []), limits=Limits(clients_per_address=most))
    )
    assert made is not None
    return made


def peer(host: str | None) -> Any:
    return cast(Any, Peer(host))


def test_nobody_is_asked_where_everybody_is_welcome() -> None:
    assert Admission.from_config(Config()) is None


@pytest.mark.parametrize(
    ("host", "is_welcome"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("::1", True),
        ("11.1.2.3", False),
        ("::2", False),
        ("unix:", False),
        (None, False),
    ],
)
def test_only_the_networks_that_are_named_are_let_in(host: str | None, is_welcome: bool) -> None:
    door = admission(["10.0.0.0/8", "::1"])
    assert door.enter(peer(host)) == (None if is_welcome else CLIENT_NOT_ALLOWED)


def test_unix_sockets_are_let_in_where_they_are_named() -> None:
    door = admission(["unix:"])
    assert door.enter(peer("unix:")) is None
    assert door.enter(peer("10.0.0.1")) == CLIENT_NOT_ALLOWED
    assert door.enter(peer(None)) == CLIENT_NOT_ALLOWED


def test_whoever_has_no_address_is_not_counted() -> None:
    door = admission(most=1)
    assert [door.enter(peer("unix:")) for _ in range(3)] == [None] * 3
    assert door._counts == {}


def test_an_address_has_so_many_connections_and_no_more() -> None:
    door = admission(most=2)
    mine = [peer("10.0.0.1") for _ in range(3)]
    assert [door.enter(one) for one in mine] == [None, None, TOO_MANY_CLIENTS]
    assert door.enter(peer("10.0.0.2")) is None
    # Who was turned away had no place, so leaving frees none.
    door.leave(mine[2])
    assert door.enter(peer("10.0.0.1")) == TOO_MANY_CLIENTS
    door.leave(mine[0])
    door.leave(mine[0])
    assert door.enter(peer("10.0.0.1")) is None
    assert door.enter(peer("10.0.0.1")) == TOO_MANY_CLIENTS


def test_an_address_that_has_left_is_forgotten() -> None:
    door = admission(most=2)
    for number in range(100):
        one = peer(f"10.0.0.{number}")
        door.enter(one)
        door.leave(one)
    assert door._counts == {}
    assert door._addresses == {}


def test_only_so_many_who_are_refused_are_answered() -> None:
    door = admission(["::1"])
    crowd = [peer("10.0.0.1") for _ in range(65)]
    told = []
    for one in crowd:
        door.enter(one)
        told.append(door.is_crowded())
    assert told == [False] * 64 + [True]
    door.leave(crowd[0])
    assert not door.is_crowded()


def test_who_is_refused_is_told_and_listened_to_until_it_has_read_that() -> None:
    world = World(Config(access=Access(allow_clients=["192.0.2.1"])))
    client = world.client()
    assert client.got.startswith(b"HTTP/1.1 403 ")
    assert b"--allow-client" in client.got
    assert client.has_sent_end()
    client.arrives(head("GET / HTTP/1.1", "Host: a", "X-Cmux-Port-Internal: 80"))
    assert world.dials == []
    client.ends()
    world.run()
    assert client.is_over()
    # Nobody is left in the crowd, so that the next ones are answered too.
    for _ in range(70):
        client = world.client()
        assert client.got.startswith(b"HTTP/1.1 403 ")
        client.ends()
        world.run()


def test_a_crowd_that_is_refused_is_cut() -> None:
    world = World(Config(access=Access(allow_clients=["192.0.2.1"])))
    crowd = [world.client() for _ in range(70)]
    world.run()
    assert [client.is_over() for client in crowd] == [False] * 64 + [True] * 6
    assert not crowd[-1].got
