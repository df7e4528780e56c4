"""How many dials are in flight: more while they succeed, one at a time where a backlog is full."""

import pytest

from cmux_proxy.upstream.dial_window import DialWindow


def start_all(window: DialWindow) -> int:
    """Start as many dials as may start; return how many."""
    count = 0
    while window.may_start():
        window.record_start()
        count += 1
    return count


def round_of(window: DialWindow, successes: int) -> int:
    """Let this many of the next round succeed, and the others time out; return its size."""
    count = start_all(window)
    for _ in range(min(successes, count)):
        window.record_success(0.0)
    for _ in range(count - successes):
        window.record_timeout()
    return count


@pytest.mark.parametrize("is_near", [True, False])
def test_a_few_start_and_twice_as_many_after_each_round_that_succeeds(is_near: bool) -> None:
    window = DialWindow(is_near)
    assert [round_of(window, 1000) for _ in range(5)] == [4, 8, 16, 32, 64]


def test_a_round_after_a_loss_has_as_many_dials_as_the_last_had_successes() -> None:
    window = DialWindow(is_near=True)
    assert [round_of(window, count) for count in (4, 6, 6, 2, 0, 0, 1)] == [4, 8, 6, 12, 2, 1, 1]


def test_the_next_round_to_a_near_target_waits_for_this_one() -> None:
    near, far = DialWindow(is_near=True), DialWindow(is_near=False)
    for window in (near, far):
        start_all(window)
        window.record_success(0.1)
    # Two follow one that has succeeded.
    assert start_all(far) == 2
    assert start_all(near) == 0
    # A dial that was cancelled makes room, and says nothing about the backlog.
    near.record_end()
    assert start_all(near) == 1


def test_a_target_that_accepts_at_once_is_near() -> None:
    window = DialWindow(is_near=False)
    assert window.timeout is None
    start_all(window)
    window.record_success(0.1)
    assert window.timeout is None
    window.record_success(0.0005)
    assert window.timeout is not None


def test_timeouts_and_pauses_grow_up_to_a_maximum() -> None:
    window = DialWindow(is_near=True)
    pauses, timeouts = [], []
    for _ in range(12):
        window.record_start()
        pauses.append(window.record_timeout())
        timeouts.append(window.timeout)
    assert pauses[:3] == [0.004, 0.008, 0.016]
    assert timeouts[:3] == [0.008, 0.016, 0.032]
    assert (pauses[-1], timeouts[-1]) == (0.05, 1.0)
    # A slow success makes the timeout longer, and the pause as short as at first.
    window.record_start()
    window.record_success(0.1)
    assert window.timeout == 0.2
    window.record_start()
    assert window.record_timeout() == 0.002


def test_a_round_without_success_counts_once() -> None:
    window = DialWindow(is_near=True)
    assert start_all(window) == 4
    assert [window.record_timeout() for _ in range(4)] == [0.002, 0.002, 0.002, 0.004]


def test_only_the_window_of_a_distant_target_is_widened() -> None:
    near, far = DialWindow(is_near=True), DialWindow(is_near=False)
    for window in (near, far):
        start_all(window)
        window.widen()
    assert (start_all(near), start_all(far)) == (0, 4)
