"""Which requests wait, and which is next; against a model that is a list."""

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


def waiter(now: float = 0.0, retry_seconds: float = 0.0, needs_fresh: bool = False) -> Waiter:
    return Waiter(A, UpstreamOwner(), now, retry_seconds, needs_fresh)


def test_a_request_is_removed_from_its_own_queue_only() -> None:
    old, new = Waiters(), Waiters()
    first, second = waiter(), waiter()
    old.add(first)
    new.add(second)
    new.remove(first)
    assert list(new) == [second]


def test_the_time_to_wait_starts_again_at_a_refusal() -> None:
    waiters = Waiters()
    request = waiter(now=0.0, retry_seconds=60.0)
    waiters.add(request)
    assert waiters.next_timeout(TIMEOUT) == 5.0
    waiters.refused_at = 4.0
    assert (waiters.pop_timed_out(8.9, TIMEOUT), waiters.next_timeout(TIMEOUT)) == ([], 9.0)
    assert waiters.pop_timed_out(9.0, TIMEOUT) == [request]
    assert waiters.next_timeout(TIMEOUT) == inf


class WaitersModel(RuleBasedStateMachine):
    """The requests that wait are in the model's list, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waiters = Waiters()
        self.all: list[Waiter] = []
        self.gone: list[Waiter] = [waiter()]

    @rule(needs_fresh=st.booleans(), retry_seconds=st.sampled_from([0.0, 3.0, 60.0]))
    def join(self, needs_fresh: bool, retry_seconds: float) -> None:
        request = waiter(self.now, retry_seconds, needs_fresh)
        self.waiters.add(request)
        assert self.waiters.last == request.number
        self.all.append(request)

    @precondition(lambda self: self.all)
    @rule(number=numbers)
    def leave(self, number: int) -> None:
        request = self.all[number % len(self.all)]
        self.waiters.remove(request)
        self.forget([request])

    @rule(number=numbers)
    def leave_twice(self, number: int) -> None:
        self.waiters.remove(self.gone[number % len(self.gone)])

    @rule()
    def a_used_connection_is_there(self) -> None:
        able = [request for request in self.all if not request.needs_fresh]
        taken = self.waiters.pop_for_used()
        assert taken is (able[0] if able else None)
        self.forget(able[:1])

    @rule()
    def a_fresh_connection_is_there(self) -> None:
        taken = self.waiters.pop_for_fresh()
        assert taken is (self.all[0] if self.all else None)
        self.forget(self.all[:1])

    @rule(number=numbers)
    def a_dial_fails(self, number: int) -> None:
        failed = [request for request in self.all if request.number <= number]
        assert sorted(map(id, self.waiters.pop_up_to(number))) == sorted(map(id, failed))
        self.forget(failed)

    @rule(number=numbers)
    def a_dial_is_refused(self, number: int) -> None:
        failed = [
            request
            for request in self.all
            if request.number <= number and request.retry_until <= self.now
        ]
        taken = self.waiters.pop_refused(number, self.now)
        assert sorted(map(id, taken)) == sorted(map(id, failed))
        self.forget(failed)
        self.waiters.refused_at = self.now

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.5]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        due = [request for request in self.all if self.ends(request) <= self.now]
        assert sorted(map(id, self.waiters.pop_timed_out(self.now, TIMEOUT))) == sorted(
            map(id, due)
        )
        self.forget(due)

    def ends(self, request: Waiter) -> float:
        return max(request.since, self.waiters.refused_at) + TIMEOUT

    def forget(self, requests: list[Waiter]) -> None:
        self.gone += requests
        self.all = [request for request in self.all if request not in requests]

    @invariant()
    def the_same_wait(self) -> None:
        assert sorted(map(id, self.waiters)) == sorted(map(id, self.all))
        assert len(self.waiters) == len(self.all)
        assert self.waiters.next_timeout(TIMEOUT) == min(map(self.ends, self.all), default=inf)
        assert self.waiters.next_retry_end() == min(
            (request.retry_until for request in self.all), default=inf
        )


WaitersModel.TestCase.settings = settings(stateful_step_count=40)
TestWaitersDoWhatTheirModelDoes = WaitersModel.TestCase
