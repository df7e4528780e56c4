"""Counts: buckets, series, and a snapshot that others can add up."""

import json

import pytest

from cmux_proxy.observe.counters import BUCKETS, Counts, Histogram


@pytest.mark.parametrize(
    ("seconds", "place"),
    [
        (0.0, 0),
        *((bound, place) for place, bound in enumerate(BUCKETS)),
        *((bound * 1.01, place + 1) for place, bound in enumerate(BUCKETS)),
    ],
)
def test_a_duration_falls_into_the_bucket_that_bounds_it(seconds: float, place: int) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.snapshot()["buckets"] == [int(at == place) for at in range(len(BUCKETS) + 1)]
    histogram.add(1.0)
    assert histogram.total == seconds + 1.0
    assert sum(histogram.snapshot()["buckets"]) == 2


def test_the_bounds_ascend() -> None:
    assert sorted(set(BUCKETS)) == BUCKETS


def test_a_series_is_of_a_kind_a_method_and_a_status() -> None:
    counts = Counts()
    one = counts.series("request", b"GET", 200)
    assert counts.series("request", b"GET", 200) is one
    others = [("upgrade", b"GET", 200), ("request", b"PUT", 200), ("request", b"GET", 404)]
    assert all(counts.series(*other) is not one for other in others)


def test_methods_that_nobody_knows_share_a_series() -> None:
    counts = Counts()
    for number in range(1000):
        counts.series("request", b"M%d" % number, 200).durations.add(0.1)
    [[_, method, _, durations, _]] = counts.snapshot()["series"]
    assert (method, sum(durations["buckets"])) == ("other", 1000)


def test_failures_are_counted_by_status_and_error() -> None:
    counts = Counts()
    for status, error in [(502, "a"), (502, "b"), (502, "a"), (0, "a")]:
        counts.failed(status, error)
    assert sorted(counts.snapshot()["errors"]) == [[0, "a", 1], [502, "a", 2], [502, "b", 1]]


def test_a_snapshot_is_plain_data_and_stays_as_it_is() -> None:
    counts = Counts()
    series = counts.series("request", b"GET", 200)
    before = counts.snapshot()
    assert json.loads(json.dumps(before)) == before
    series.durations.add(0.1)
    series.first_bytes.add(0.1)
    counts.connects.add(0.1)
    counts.sent += 1
    assert json.loads(json.dumps(before)) == before != counts.snapshot()
