"""A budget allows a burst, and a rate after it."""

from cmux_proxy.http2.flood_budget import FloodBudget


def spend(budget: FloodBudget, now: float, count: int) -> int:
    """Return how many of so many frames are allowed."""
    return sum(budget.spend(now) for _ in range(count))


def test_a_burst_is_allowed_at_once() -> None:
    assert spend(FloodBudget(10, 2), 100.0, 20) == 10


def test_the_rate_is_allowed_after_it() -> None:
    budget = FloodBudget(10, 2)
    assert spend(budget, 100.0, 10) == 10
    assert spend(budget, 100.4, 5) == 0
    assert spend(budget, 101.0, 5) == 2
    assert spend(budget, 102.5, 5) == 3


def test_no_more_than_a_burst_is_saved() -> None:
    budget = FloodBudget(10, 2)
    assert spend(budget, 0.0, 10) == 10
    assert spend(budget, 1000.0, 50) == 10


def test_time_that_does_not_suffice_for_a_frame_is_not_lost() -> None:
    budget = FloodBudget(1, 2)
    budget.spend(0.0)
    allowed = [budget.spend(step * 0.3) for step in range(1, 11)]
    assert sum(allowed) == 5


def test_a_steady_rate_is_always_allowed() -> None:
    budget = FloodBudget(10, 2)
    assert all(budget.spend(second * 0.5) for second in range(1000))
