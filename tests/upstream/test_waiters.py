"""Who waits for a connection, and who is next; against a model that is a list."""

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamOwner
from cmux_proxy.upstream.waiters import Waiter, Waiters

A = Target("127.0.0.1", 1)
TIMEOUT = 5.0
numbers = st.integers(0, 30)


def waiter(now: float = 0.0, patience: float = 0.0, needs_fresh: bool = False) -> Waiter:
    return Waiter(A, UpstreamOwner(), now, patience, needs_fresh)


def test_one_that_has_left_an_older_queue_takes_nobody_s_place() -> None:
    old, new = Waiters(), Waiters()
    first, second = waiter(), waiter()
    old.join(first)
    new.join(second)
    new.leave(first)
    assert list(new) == [second]


def test_a_refusal_lets_all_wait_anew() -> None:
    waiters = Waiters()
    one = waiter(now=0.0, patience=60.0)
    waiters.join(one)
    assert waiters.next_late(TIMEOUT) == 5.0
    waiters.refused_at = 4.0
    assert (waiters.late(8.9, TIMEOUT), waiters.next_late(TIMEOUT)) == ([], 9.0)
    assert waiters.late(9.0, TIMEOUT) == [one]
    assert waiters.next_late(TIMEOUT) == inf


class WaitersModel(RuleBasedStateMachine):
    """Whoever waits is in the model's list, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waiters = Waiters()
        self.all: list[Waiter] = []
        self.gone: list[Waiter] = [waiter()]

    @rule(needs_fresh=st.booleans(), patience=st.sampled_from([0.0, 3.0, 60.0]))
    def join(self, needs_fresh: bool, patience: float) -> None:
        one = waiter(self.now, patience, needs_fresh)
        self.waiters.join(one)
        assert self.waiters.last == one.number
        self.all.append(one)

    @precondition(lambda self: self.all)
    @rule(number=numbers)
    def leave(self, number: int) -> None:
        one = self.all[number % len(self.all)]
        self.waiters.leave(one)
        self.forget([one])

    @rule(number=numbers)
    def leave_twice(self, number: int) -> None:
        self.waiters.leave(self.gone[number % len(self.gone)])

    @rule()
    def a_used_connection_is_there(self) -> None:
        able = [one for one in self.all if not one.needs_fresh]
        taken = self.waiters.next_for_used()
        assert taken is (able[0] if able else None)
        self.forget(able[:1])

    @rule()
    def a_fresh_connection_is_there(self) -> None:
        taken = self.waiters.next_for_fresh()
        assert taken is (self.all[0] if self.all else None)
        self.forget(self.all[:1])

    @rule(number=numbers)
    def a_dial_fails(self, number: int) -> None:
        told = [one for one in self.all if one.number <= number]
        assert sorted(map(id, self.waiters.up_to(number))) == sorted(map(id, told))
        self.forget(told)

    @rule(number=numbers)
    def a_dial_is_refused(self, number: int) -> None:
        told = [one for one in self.all if one.number <= number and one.patient_until <= self.now]
        taken = self.waiters.impatient(number, self.now)
        assert sorted(map(id, taken)) == sorted(map(id, told))
        self.forget(told)
        self.waiters.refused_at = self.now

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.5]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        due = [one for one in self.all if self.ends(one) <= self.now]
        assert sorted(map(id, self.waiters.late(self.now, TIMEOUT))) == sorted(map(id, due))
        self.forget(due)

    def ends(self, one: Waiter) -> float:
        return max(one.since, self.waiters.refused_at) + TIMEOUT

    def forget(self, some: list[Waiter]) -> None:
        self.gone += some
        self.all = [one for one in self.all if one not in some]

    @invariant()
    def the_same_wait(self) -> None:
        assert sorted(map(id, self.waiters)) == sorted(map(id, self.all))
        assert len(self.waiters) == len(self.all)
        assert self.waiters.next_late(TIMEOUT) == min(map(self.ends, self.all), default=inf)
        assert self.waiters.patience() == min((one.patient_until for one in self.all), default=inf)


WaitersModel.TestCase.settings = settings(stateful_step_count=40)
TestWaitersDoWhatTheirModelDoes = WaitersModel.TestCase
