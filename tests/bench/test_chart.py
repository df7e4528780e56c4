"""The chart of a result."""

from typing import Any

import pytest

from bench.load.chart import draw
from bench.load.programs import MARK, OURS


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


def test_an_old_result_names_no_cores() -> None:
    assert "0.60 (6.0 µs)" in draw(result(case(6.0)))
