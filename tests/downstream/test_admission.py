"""Which clients may connect; without sockets."""

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
    """A transport that knows only the address of its peer."""

    def __init__(self, host: str | None) -> None:
        self._host = host

    def get_extra_info(self, name: str) -> object:
        if self._host == "unix:" and name == "socket":
            return UNIX
        return None if self._host is None or name != "peername" else (self._host, 1)


def admission(clients: list[str] | None = None, per_address: int | None = None) -> Admission:
    control = Admission.from_config(
        Config(
            access=Access(allow_clients=clients or []),
            limits=Limits(clients_per_address=per_address),
        )
    )
    assert control is not None
    return control


def peer(host: str | None) -> Any:
    return cast(Any, Peer(host))


def test_without_rules_there_is_no_admission_control() -> None:
    assert Admission.from_config(Config()) is None


@pytest.mark.parametrize(
    ("host", "is_admitted"),
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
def test_only_allowed_networks_are_admitted(host: str | None, is_admitted: bool) -> None:
    control = admission(["10.0.0.0/8", "::1"])
    assert control.enter(peer(host)) == (None if is_admitted else CLIENT_NOT_ALLOWED)


def test_unix_sockets_are_admitted_where_they_are_allowed() -> None:
    control = admission(["unix:"])
    assert control.enter(peer("unix:")) is None
    assert control.enter(peer("10.0.0.1")) == CLIENT_NOT_ALLOWED
    assert control.enter(peer(None)) == CLIENT_NOT_ALLOWED


def test_clients_without_an_address_are_not_counted() -> None:
    control = admission(per_address=1)
    assert [control.enter(peer("unix:")) for _ in range(3)] == [None] * 3
    assert control.counts == {}


def test_an_address_has_at_most_the_configured_number_of_connections() -> None:
    control = admission(per_address=2)
    peers = [peer("10.0.0.1") for _ in range(3)]
    assert [control.enter(stream) for stream in peers] == [None, None, TOO_MANY_CLIENTS]
    assert control.enter(peer("10.0.0.2")) is None
    # A refused connection is not counted, so its end changes nothing.
    control.leave(peers[2])
    assert control.enter(peer("10.0.0.1")) == TOO_MANY_CLIENTS
    control.leave(peers[0])
    control.leave(peers[0])
    assert control.enter(peer("10.0.0.1")) is None
    assert control.enter(peer("10.0.0.1")) == TOO_MANY_CLIENTS


def test_an_address_without_connections_is_forgotten() -> None:
    control = admission(per_address=2)
    for number in range(100):
        stream = peer(f"10.0.0.{number}")
        control.enter(stream)
        control.leave(stream)
    assert control.counts == {}
    assert control.addresses == {}


def test_the_number_of_refused_connections_that_get_a_response_is_limited() -> None:
    control = admission(["::1"])
    refused = [peer("10.0.0.1") for _ in range(65)]
    results = []
    for stream in refused:
        control.enter(stream)
        results.append(control.is_crowded())
    assert results == [False] * 64 + [True]
    control.leave(refused[0])
    assert not control.is_crowded()


def test_a_refused_client_gets_403_and_a_lingering_close() -> None:
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
    # All refused connections have closed, so the next ones get a response too.
    for _ in range(70):
        client = world.client()
        assert client.got.startswith(b"HTTP/1.1 403 ")
        client.ends()
        world.run()


def test_beyond_the_limit_refused_connections_are_closed_without_a_response() -> None:
    world = World(Config(access=Access(allow_clients=["192.0.2.1"])))
    clients = [world.client() for _ in range(70)]
    world.run()
    assert [client.is_over() for client in clients] == [False] * 64 + [True] * 6
    assert not clients[-1].got
