"""The pool's bookkeeping: newest first, oldest evicted, never more than the limits."""

import pytest

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.pool import Idle, Pool

A = Target("127.0.0.1", 1)
B = Target("::1", 2)


def pool_of(per_target: int = 10, total: int = 10, idle: float = 5.0) -> Pool[Idle]:
    return Pool(per_target, total, idle)


def give(pool: Pool[Idle], target: Target, now: float = 0.0) -> Idle:
    connection = Idle()
    assert pool.give_back(target, connection, now)
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


def test_an_idle_connection_knows_since_when() -> None:
    pool = pool_of()
    connection = give(pool, A, 7.5)
    assert connection.idle_since == 7.5
    assert pool.lease(A) is connection
    pool.give_back(A, connection, 9.0)
    assert connection.idle_since == 9.0


# Limits


def test_each_target_has_a_limit() -> None:
    pool = pool_of(per_target=2)
    kept = [give(pool, A), give(pool, A)]
    assert not pool.give_back(A, Idle(), 0.0)
    give(pool, B)
    assert len(pool) == 3
    assert [pool.lease(A), pool.lease(A)] == kept[::-1]


def test_all_together_have_a_limit() -> None:
    pool = pool_of(total=2)
    give(pool, A)
    give(pool, B)
    assert not pool.give_back(A, Idle(), 0.0)
    assert not pool.give_back(Target("c", 3), Idle(), 0.0)
    assert pool.lease(B) is not None
    assert pool.give_back(A, Idle(), 0.0)


@pytest.mark.parametrize("limits", [(0, 10), (10, 0), (0, 0)])
def test_a_limit_of_nothing_keeps_nothing(limits: tuple[int, int]) -> None:
    pool = pool_of(*limits)
    assert not pool.give_back(A, Idle(), 0.0)
    assert (len(pool), pool.drain(), pool.lease(A)) == (0, [], None)


# Death


def test_a_dead_connection_is_forgotten() -> None:
    pool = pool_of()
    first, second = give(pool, A), give(pool, A)
    pool.discard(A, second)
    assert len(pool) == 1
    assert pool.lease(A) is first


def test_a_connection_that_is_not_idle_is_no_concern() -> None:
    pool = pool_of()
    leased = give(pool, A)
    assert pool.lease(A) is leased
    give(pool, B)
    pool.discard(A, leased)
    pool.discard(B, leased)
    pool.discard(Target("c", 3), Idle())
    assert len(pool) == 1


# Age


def test_what_has_been_idle_for_too_long_is_taken_out() -> None:
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


def test_a_connection_expires_at_the_instant_its_time_is_over() -> None:
    pool = pool_of(idle=5.0)
    connection = give(pool, A, 1.0)
    assert pool.expired(5.999) == []
    assert pool.expired(6.0) == [connection]


def test_a_lease_begins_a_new_life() -> None:
    pool = pool_of(idle=5.0)
    connection = give(pool, A, 0.0)
    assert pool.lease(A) is connection
    pool.give_back(A, connection, 4.0)
    assert pool.expired(8.9) == []
    assert pool.expired(9.0) == [connection]


def test_no_target_is_remembered_for_ever() -> None:
    pool = pool_of(per_target=1, total=1)
    for port in range(1, 50):
        connection = give(pool, Target("a", port))
        assert pool.lease(Target("a", port)) is connection
    pool.expired(0.0)
    assert repr(pool) == "<Pool 0 idle>"


def test_refused_connections_leave_no_trace() -> None:
    pool = pool_of(per_target=0)
    assert not pool.give_back(A, Idle(), 0.0)
    pool.expired(0.0)
    assert repr(pool) == "<Pool 0 idle>"


# All of it


def test_draining_takes_out_everything() -> None:
    pool = pool_of()
    given = [give(pool, A), give(pool, B), give(pool, A)]
    assert sorted(map(id, pool.drain())) == sorted(map(id, given))
    assert (len(pool), pool.lease(A), pool.drain()) == (0, None, [])


def test_a_pool_shows_what_it_holds() -> None:
    pool = pool_of()
    give(pool, A)
    give(pool, B)
    give(pool, A)
    assert repr(pool) == "<Pool 3 idle (127.0.0.1:1: 2, [::1]:2: 1)>"
