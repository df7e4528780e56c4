"""TrafficStats: values of counters, as sums of several workers and as JSON."""

import json

from cmux_proxy.observe.counters import Counters
from cmux_proxy.observe.histogram import BUCKETS
from cmux_proxy.observe.traffic_stats import HistogramStats, TrafficStats, add_tables


def counters() -> Counters:
    """Return counters with a value everywhere."""
    made = Counters()
    series = made.series("request", b"GET", 200)
    series.durations.add(0.1)
    series.first_bytes.add(0.05)
    made.connects.add(0.2)
    made.failed(502, "a")
    made.received, made.sent, made.reused, made.retried = 1.0, 2.0, 3.0, 4
    return made


def test_a_value_does_not_change_when_its_counters_do() -> None:
    made = counters()
    before = TrafficStats.of(made)
    assert before == TrafficStats.of(counters())
    made.series("request", b"GET", 200).durations.add(0.1)
    made.failed(502, "a")
    made.sent += 1
    assert before == TrafficStats.of(counters()) != TrafficStats.of(made)


def test_a_round_trip_through_json_changes_nothing() -> None:
    stats = TrafficStats.of(counters())
    assert TrafficStats.from_json(json.loads(json.dumps(stats.to_json()))) == stats


def test_two_add_up_and_neither_is_changed() -> None:
    first, second = counters(), counters()
    second.series("connect", b"CONNECT", 200).durations.add(0.1)
    second.failed(502, "b")
    both = TrafficStats.of(first) + TrafficStats.of(second)
    counts = {key: series.durations.count() for key, series in both.series.items()}
    assert counts == {("request", "GET", 200): 2, ("connect", "CONNECT", 200): 1}
    assert both.errors == {(502, "a"): 2, (502, "b"): 1}
    assert (both.received, both.sent, both.reused, both.retried) == (2, 4, 6, 8)
    assert (both.connects.count(), both.connects.total) == (2, 0.4)
    assert TrafficStats.of(first) == TrafficStats.of(counters())


def test_a_histogram_begins_empty_and_has_a_bucket_without_bound() -> None:
    empty = HistogramStats()
    assert len(empty.buckets) == len(BUCKETS) + 1
    assert empty + empty == empty
    assert empty.count() == 0


def test_tables_keep_what_only_one_of_them_has() -> None:
    assert add_tables({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 5, "c": 4}
