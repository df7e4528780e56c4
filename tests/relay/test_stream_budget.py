"""How many streams are under way: with room, without, and what clients of HTTP/1 take of it."""

from cmux_proxy.net.timers import Timed
from cmux_proxy.relay.connection_registry import ConnectionRegistry
from cmux_proxy.relay.stream_budget import MAX_WAITING, UNLIMITED


def registry_of(max_exchanges: int, http1: int = 0, http2: int = 1) -> ConnectionRegistry:
    """Return a registry with these clients."""
    registry = ConnectionRegistry()
    registry.budget.max_exchanges = max_exchanges
    registry.budget.connections = http2
    for _ in range(http1 + http2):
        registry.add_client(Timed())
    registry.changed()
    return registry


def test_without_a_limit_streams_do_not_wait() -> None:
    registry = registry_of(UNLIMITED)
    assert all(registry.enter_stream() for _ in range(10_000))


def test_connections_of_http2_take_no_room_and_clients_of_http1_do() -> None:
    registry = registry_of(5, http1=2, http2=3)
    assert [registry.enter_stream() for _ in range(4)] == [True, True, True, False]


def test_a_tunnel_on_a_stream_is_not_counted_twice() -> None:
    registry = registry_of(3)
    assert registry.enter_stream()
    registry.tunnels.add(Timed())
    registry.budget.tunnels += 1
    assert len(registry) == 1
    assert [registry.enter_stream() for _ in range(3)] == [True, True, False]
    registry.tunnels.clear()
    registry.leave_stream(True)
    assert (len(registry), registry.budget.tunnels, registry.budget.count) == (1, 0, 2)


def test_streams_that_wait_begin_in_order_as_others_end() -> None:
    registry = registry_of(1)
    begun: list[str] = []
    assert registry.enter_stream()
    for name in "abc":
        assert registry.budget.wait(name, lambda name=name: begun.append(name))  # type: ignore[misc]
    registry.budget.withdraw("b")
    registry.leave_stream(False)
    assert begun == ["a"]
    assert not registry.enter_stream()
    registry.leave_stream(False)
    assert begun == ["a", "c"]
    registry.leave_stream(False)
    assert registry.budget.count == 0
    assert registry.enter_stream()


def test_nobody_overtakes_a_stream_that_waits() -> None:
    registry = registry_of(10)
    registry.budget.wait("a", lambda: None)
    assert not registry.enter_stream()


def test_a_client_of_http1_that_leaves_makes_room() -> None:
    registry = registry_of(1, http1=1)
    begun: list[str] = []
    assert not registry.enter_stream()
    registry.budget.wait("a", lambda: begun.append("a"))
    registry.changed()
    assert begun == []
    registry.clients.popitem()
    registry.changed()
    assert begun == ["a"]


def test_many_streams_that_end_as_soon_as_they_begin() -> None:
    registry = registry_of(1)
    begun: list[int] = []
    assert registry.enter_stream()

    def begin() -> None:
        begun.append(1)
        registry.leave_stream(False)

    for number in range(MAX_WAITING):
        assert registry.budget.wait(number, begin)
    assert not registry.budget.wait(MAX_WAITING, begin)
    registry.leave_stream(False)
    assert (len(begun), registry.budget.count) == (MAX_WAITING, 0)


def test_accepting_pauses_while_streams_take_all_room() -> None:
    registry = registry_of(2)
    states: list[bool] = []
    registry.on_change = lambda: states.append(registry.is_full)
    assert registry.has_room(0)
    assert not registry.has_room(2)
    assert registry.enter_stream()
    assert states == []
    assert registry.enter_stream()
    assert not registry.has_room(0)
    registry.leave_stream(False)
    assert states == [True, False]
