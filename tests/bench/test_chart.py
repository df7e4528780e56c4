"""The chart of a result."""

from typing import Any

import pytest

from bench.load.chart import draw
from bench.load.programs import MARK, NEWER, OURS, RELAY


def case(cpu: float, **scenario: str) -> dict[str, Any]:
    """Return the data of a case in which HAProxy takes 10 µs."""
    values = {OURS: cpu, MARK: 10.0}
    return {
        "scenario": {"name": "get-browser-c8", **scenario},
        "unit": "request",
        "proxies": {
            name: {
                "figures": {"cpu_us": {"median": value}},
                f"ratios_to_{MARK}": {} if name == MARK else {"cpu_us": {"median": value / 10}},
            }
            for name, value in values.items()
        },
    }


def result(*cases: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a result."""
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": {"hash": "0" * 40},
        "machine": {"cpu": "a processor", "kernel": "6.1"},
        "versions": {},
        "method": {"rounds": 5},
        "cases": list(cases),
    }


@pytest.mark.parametrize(("cores", "label"), [("two", "0.80 (8.0 µs)"), ("same", "0.70 (7.0 µs)")])
def test_the_chart_is_of_one_layout(cores: str, label: str) -> None:
    text = draw(result(case(8.0, cores="two"), case(7.0, cores="same")), cores)
    assert [word in text for word in (label, "0.80 (", "0.70 (")].count(True) == 2
    assert label in text


def test_the_newer_haproxy_is_compared_with_and_a_relay_is_no_proxy() -> None:
    one = case(8.0, cores="two")
    for name, ratio in ((NEWER, None), (OURS, 0.5), (MARK, 0.625), (RELAY, 0.25)):
        figures = {"figures": {"cpu_us": {"median": 16.0}}, f"ratios_to_{MARK}": {}}
        proxy = one["proxies"].setdefault(name, figures)
        proxy[f"ratios_to_{NEWER}"] = {"cpu_us": {"median": ratio}} if ratio else {}
    data = result(one)
    data["versions"] = {MARK: "HAProxy version 2.6.12-1 2026", NEWER: "HAProxy version 2.8.25 2026"}
    text = draw(data)
    assert all(
        words in text for words in ("0.50 (8.0", "1.00 (16.0", "HAProxy 2.6", "HAProxy 2.8<")
    )
    assert "HAProxy version 2.8.25" in text
    assert "relay" not in text


def test_an_old_result_names_no_cores() -> None:
    assert "0.60 (6.0 µs)" in draw(result(case(6.0)))
