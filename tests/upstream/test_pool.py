"""The pool's bookkeeping: newest first, oldest evicted, never more than the limits."""

import pytest

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.pool import Idle, Pool

A = Target("127.0.0.1", 1)
B = Target("::1", 2)


def pool_of(total: int | None = 10, idle: float = 5.0, max_open: int | None = None) -> Pool[Idle]:
    return Pool(total, idle, max_open)


def open_one(pool: Pool[Idle], target: Target) -> Idle:
    pool.opened(pool.target_pool(target))
    return Idle()


def give_back(pool: Pool[Idle], target: Target, connection: Idle, now: float = 0.0) -> bool:
    return pool.give_back(pool.target_pool(target), connection, now)


def give(pool: Pool[Idle], target: Target, now: float = 0.0) -> Idle:
    connection = open_one(pool, target)
    assert give_back(pool, target, connection, now)
    return connection


def test_an_empty_pool_has_nothing_to_lease() -> None:
    pool = pool_of()
    assert pool.lease(A) is None
    assert len(pool) == 0
    assert repr(pool) == "<Pool 0 idle>"


def test_a_connection_is_leased_once() -> None:
    pool = pool_of()
    connection = give(pool, A)
    assert len(pool) == 1
    assert pool.lease(A) is connection
    assert pool.lease(A) is None
    assert len(pool) == 0


def test_the_newest_is_leased_first() -> None:
    pool = pool_of()
    given = [give(pool, A, now) for now in range(3)]
    assert [pool.lease(A) for _ in range(3)] == given[::-1]


def test_a_connection_is_leased_to_its_own_target_only() -> None:
    pool = pool_of()
    connection = give(pool, A)
    assert pool.lease(B) is None
    assert pool.lease(Target("127.0.0.1", 2)) is None
    assert pool.lease(Target("127.0.0.1", 1)) is connection


def test_an_idle_connection_has_the_time_since_when() -> None:
    pool = pool_of()
    connection = give(pool, A, 7.5)
    assert connection.idle_since == 7.5
    assert pool.lease(A) is connection
    give_back(pool, A, connection, 9.0)
    assert connection.idle_since == 9.0


# Limits


def test_as_many_stay_idle_as_were_busy_at_the_same_time() -> None:
    pool = pool_of(total=None)
    busy = [open_one(pool, A) for _ in range(5000)]
    assert all(give_back(pool, A, each) for each in busy)
    assert len(pool) == 5000
    # Ten are enough from now on, so the others age.
    for now in range(1, 6):
        leased = [pool.lease(A) for _ in range(10)]
        assert {*leased} == {*busy[-10:]}
        for each in busy[-10:]:
            give_back(pool, A, each, float(now))
    assert pool.expired(5.0) == busy[:-10]
    assert len(pool) == 10


def test_all_together_have_a_limit() -> None:
    pool = pool_of(total=2)
    give(pool, A)
    give(pool, B)
    assert not give_back(pool, A, Idle())
    assert not give_back(pool, Target("c", 3), Idle())
    assert pool.lease(B) is not None
    assert give_back(pool, A, Idle())


@pytest.mark.parametrize(("total", "idle"), [(0, 5.0), (None, 0.0), (10, 0.0)])
def test_a_limit_of_nothing_keeps_nothing(total: int | None, idle: float) -> None:
    pool = pool_of(total, idle)
    assert not give_back(pool, A, Idle())
    assert pool.keeps_alive is (idle > 0)
    assert (len(pool), pool.drain(), pool.lease(A)) == (0, [], None)
    assert not pool.keeps_alive


def test_none_stays_idle_while_more_are_open_than_there_is_room_for() -> None:
    pool = pool_of(max_open=2)
    one, two, three = (open_one(pool, to) for to in (A, B, B))
    assert not give_back(pool, A, one)
    pool.closed(pool.target_pool(A))
    assert give_back(pool, B, two)
    assert give_back(pool, B, three)


def test_an_idle_connection_makes_room_for_one_of_another_target() -> None:
    pool = pool_of(max_open=3)
    dead, oldest, newest = (give(pool, A, now) for now in (1.0, 2.0, 3.0))
    pool.discard(dead)
    assert pool.make_room() is oldest
    pool.closed(pool.target_pool(A))
    assert pool.make_room() is None
    assert pool.lease(A) is newest
    open_one(pool, B)
    # All three are busy: that is for the limit on clients.
    assert pool.make_room() is None


def test_a_pool_without_such_a_limit_has_room() -> None:
    pool = pool_of()
    give(pool, A)
    assert pool.make_room() is None


# Death


def test_a_dead_connection_is_forgotten() -> None:
    pool = pool_of()
    first, second = give(pool, A), give(pool, A)
    pool.discard(second)
    assert len(pool) == 1
    assert pool.lease(A) is first
    assert pool.lease(A) is None


def test_a_connection_that_is_not_idle_is_not_discarded() -> None:
    pool = pool_of()
    leased = give(pool, A)
    assert pool.lease(A) is leased
    give(pool, B)
    pool.discard(leased)
    pool.discard(Idle())
    assert len(pool) == 1


# Age


def test_expired_connections_are_taken_out() -> None:
    pool = pool_of(idle=5.0)
    old = [give(pool, A, 0.0), give(pool, A, 1.0)]
    young = give(pool, A, 1.5)
    other = give(pool, B, 0.5)
    assert pool.expired(4.9) == []
    assert pool.expired(6.0) == [*old, other]
    assert len(pool) == 1
    assert pool.expired(6.0) == []
    assert pool.lease(A) is young
    assert pool.lease(B) is None


def test_a_dead_connection_does_not_expire() -> None:
    pool = pool_of(idle=5.0)
    dead, old = give(pool, A, 0.0), give(pool, A, 0.0)
    pool.discard(dead)
    assert pool.expired(6.0) == [old]
    assert len(pool) == 0


def test_a_connection_expires_at_the_instant_its_time_is_over() -> None:
    pool = pool_of(idle=5.0)
    connection = give(pool, A, 1.0)
    assert pool.expired(5.999) == []
    assert pool.expired(6.0) == [connection]


def test_the_idle_time_starts_again_after_a_lease() -> None:
    pool = pool_of(idle=5.0)
    connection = give(pool, A, 0.0)
    assert pool.lease(A) is connection
    give_back(pool, A, connection, 4.0)
    assert pool.expired(8.9) == []
    assert pool.expired(9.0) == [connection]


def test_a_target_is_kept_as_long_as_it_is_in_use() -> None:
    pool = pool_of()
    busy = pool.target_pool(A)
    pool.opened(busy)
    awaited = pool.target_pool(B)
    awaited.offer = lambda _connection: False
    pool.expired(0.0)
    assert pool.target_pool(A) is busy
    assert pool.target_pool(B) is awaited
    pool.closed(busy)
    awaited.offer = None
    pool.expired(0.0)
    assert pool.target_pool(A) is not busy
    assert pool.target_pool(B) is not awaited


def test_what_was_leased_last_is_found_again_until_it_is_forgotten() -> None:
    pool = pool_of()
    for _ in range(2):
        first, other = give(pool, A), give(pool, B)
        assert pool.lease(A) is first
        assert pool.lease(B) is other
        assert pool.lease(B) is pool.lease(A) is None
        for target in (A, B):
            pool.closed(pool.target_pool(target))
        # Both targets are unused now.
        assert pool.expired(0.0) == []


# All of it


def test_a_drain_takes_out_all_idle_connections() -> None:
    pool = pool_of()
    given = [give(pool, A), give(pool, B), give(pool, A)]
    pool.discard(given.pop())
    assert sorted(map(id, pool.drain())) == sorted(map(id, given))
    assert (len(pool), pool.lease(A), pool.drain()) == (0, None, [])


def test_a_pool_shows_what_it_holds() -> None:
    pool = pool_of()
    give(pool, A)
    give(pool, B)
    give(pool, A)
    assert repr(pool) == "<Pool 3 idle (127.0.0.1:1: 2, [::1]:2: 1)>"
