"""Outcomes, and counting them."""

from cmux_proxy.observe.outcome import Outcome, Tally


def test_a_tally_counts_each_outcome() -> None:
    tally = Tally()
    assert [tally.count(outcome) for outcome in Outcome] == [0] * len(Outcome)
    for number, outcome in enumerate(Outcome, 1):
        for _ in range(number):
            tally.add(outcome)
    assert [tally.count(outcome) for outcome in Outcome] == [*range(1, len(Outcome) + 1)]


def test_tallies_are_independent() -> None:
    first, other = Tally(), Tally()
    first.add(Outcome.COMPLETE)
    assert other.count(Outcome.COMPLETE) == 0
