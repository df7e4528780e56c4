"""The connections of a worker, and whether there is room for more."""

from tests.helpers.fakes import World
from tests.helpers.script import head


def test_the_server_is_notified_when_the_worker_is_full_and_when_it_is_empty() -> None:
    world = World()
    registry = world.services.registry
    registry.changed()
    registry.max_clients = 2
    calls: list[tuple[int, bool]] = []
    registry.on_change = lambda: calls.append((len(registry.clients), registry.is_full))
    first = world.client()
    assert calls == []
    second = world.client()
    third = world.client()
    assert calls == [(2, True)]
    third.breaks()
    world.run()
    assert calls == [(2, True)]
    second.breaks()
    world.run()
    assert calls == [(2, True), (1, False)]
    first.breaks()
    world.run()
    assert calls == [(2, True), (1, False), (0, False)]


def test_a_connection_is_registered_until_it_is_lost() -> None:
    world = World()
    client = world.client()
    assert len(world.services.registry.clients) == 1
    client.breaks()
    world.run()
    assert not world.services.registry.clients


def test_a_lingering_close_counts_as_a_connection_but_not_as_a_client() -> None:
    world = World()
    registry = world.services.registry
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", "Content-Length: 100"))
    assert client.has_sent_end()
    assert (len(registry.clients), len(registry.lingering), len(registry)) == (0, 1, 1)
    registry.max_clients = 1
    assert not registry.has_room(0)
    client.ends()
    world.run()
    assert len(registry) == 0
