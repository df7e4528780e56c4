"""Counters: which series an exchange belongs to, and what is counted as an error."""

from cmux_proxy.observe.counters import Counters


def test_a_series_is_of_a_kind_a_method_and_a_status() -> None:
    counters = Counters()
    series = counters.series("request", b"GET", 200)
    assert counters.series("request", b"GET", 200) is series
    others = [("upgrade", b"GET", 200), ("request", b"PUT", 200), ("request", b"GET", 404)]
    assert all(counters.series(*other) is not series for other in others)


def test_unknown_methods_share_a_series() -> None:
    counters = Counters()
    for number in range(1000):
        counters.series("request", b"M%d" % number, 200).durations.add(0.1)
    [((_, method, _), series)] = counters.all_series().items()
    assert (method, sum(series.durations.buckets())) == (b"other", 1000)


def test_failures_are_counted_by_status_and_error() -> None:
    counters = Counters()
    for status, error in [(502, "a"), (502, "b"), (502, "a"), (0, "a")]:
        counters.failed(status, error)
    assert counters.errors == {(0, "a"): 1, (502, "a"): 2, (502, "b"): 1}
