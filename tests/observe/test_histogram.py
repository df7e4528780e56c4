"""Histograms: which bucket a duration is counted in."""

import pytest

from cmux_proxy.observe.histogram import BUCKETS, Histogram


@pytest.mark.parametrize(
    ("seconds", "index"),
    [
        (0.0, 0),
        *((bound, index) for index, bound in enumerate(BUCKETS)),
        *((bound * 1.01, index + 1) for index, bound in enumerate(BUCKETS)),
    ],
)
def test_a_duration_is_counted_in_the_bucket_that_bounds_it(seconds: float, index: int) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.buckets() == [int(bucket == index) for bucket in range(len(BUCKETS) + 1)]
    histogram.add(1.0)
    assert histogram.total == seconds + 1.0
    assert sum(histogram.buckets()) == 2


def test_the_bounds_ascend() -> None:
    assert sorted(set(BUCKETS)) == BUCKETS


def test_buckets_that_were_returned_do_not_change() -> None:
    histogram = Histogram()
    before = histogram.buckets()
    histogram.add(1.0)
    assert sum(before) == 0
