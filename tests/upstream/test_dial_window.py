"""How many dials are under way: more while they succeed, one at a time where a queue is full."""

import pytest

from cmux_proxy.upstream.dial_window import DialWindow


def begin_all(pace: DialWindow) -> int:
    """Begin as many dials as may begin; return how many."""
    count = 0
    while pace.may_begin():
        pace.begun()
        count += 1
    return count


def round_of(pace: DialWindow, answered: int) -> int:
    """Let so many of the next round succeed, and the others not; return how many there were."""
    count = begin_all(pace)
    for _ in range(min(answered, count)):
        pace.succeeded(0.0)
    for _ in range(count - answered):
        pace.unanswered()
    return count


@pytest.mark.parametrize("is_near", [True, False])
def test_a_few_begin_and_twice_as_many_with_each_round_that_succeeds(is_near: bool) -> None:
    pace = DialWindow(is_near)
    assert [round_of(pace, 1000) for _ in range(5)] == [4, 8, 16, 32, 64]


def test_a_round_is_as_large_as_the_last_has_succeeded() -> None:
    pace = DialWindow(is_near=True)
    assert [round_of(pace, count) for count in (4, 6, 6, 2, 0, 0, 1)] == [4, 8, 6, 12, 2, 1, 1]


def test_the_next_round_waits_for_this_one_where_silence_means_something() -> None:
    near, far = DialWindow(is_near=True), DialWindow(is_near=False)
    for pace in (near, far):
        begin_all(pace)
        pace.succeeded(0.1)
    # In the place of one that has succeeded there are two.
    assert begin_all(far) == 2
    assert begin_all(near) == 0
    # What has been given up makes room, and tells nothing.
    near.ended()
    assert begin_all(near) == 1


def test_a_target_that_answers_at_once_is_near() -> None:
    pace = DialWindow(is_near=False)
    assert pace.grace is None
    begin_all(pace)
    pace.succeeded(0.1)
    assert pace.grace is None
    pace.succeeded(0.0005)
    assert pace.grace is not None


def test_silence_makes_longer_pauses_and_more_grace_up_to_a_bound() -> None:
    pace = DialWindow(is_near=True)
    pauses, graces = [], []
    for _ in range(12):
        pace.begun()
        pauses.append(pace.unanswered())
        graces.append(pace.grace)
    assert pauses[:3] == [0.004, 0.008, 0.016]
    assert graces[:3] == [0.008, 0.016, 0.032]
    assert (pauses[-1], graces[-1]) == (0.05, 1.0)
    # A slow success is a reason for grace, and none for a pause.
    pace.begun()
    pace.succeeded(0.1)
    assert pace.grace == 0.2
    pace.begun()
    assert pace.unanswered() == 0.002


def test_several_that_are_silent_together_are_one_sign() -> None:
    pace = DialWindow(is_near=True)
    assert begin_all(pace) == 4
    assert [pace.unanswered() for _ in range(4)] == [0.002, 0.002, 0.002, 0.004]


def test_only_to_a_distant_target_do_more_begin_before_any_has_succeeded() -> None:
    near, far = DialWindow(is_near=True), DialWindow(is_near=False)
    for pace in (near, far):
        begin_all(pace)
        pace.widen()
    assert (begin_all(near), begin_all(far)) == (0, 4)
