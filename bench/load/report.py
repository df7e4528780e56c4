"""Samples -> medians and ratios, as a table for people and as JSON to keep."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.load.measure import Sample
from bench.load.programs import OURS
from bench.load.scenarios import Scenario

_COLUMNS = (
    "case", "proxy", "req/s", "p50 ms", "p99 ms", "CPU us/req", "user", "system", "core", "RSS MiB",
)  # fmt: skip
_LEFT_ALIGNED = 2
_WHOLE_CORE = 0.9
_STARVED = (
    "* had less than 90 % of its core in some round: other programs or the load generator were in "
    "the way,\n  so compare CPU per request, not requests per second"
)


@dataclass(frozen=True)
class Spread:
    """A median and the range around it."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the median of the values."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form: str) -> str:
        """Return the value and the range, formatted."""
        return f"{self.median:{form}} ({self.least:{form}}..{self.most:{form}})"


@dataclass
class Case:
    """What became of one scenario: one Sample for each proxy and round, or a failure."""

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    rss_kib: dict[str, int] = field(default_factory=dict)
    failure: str | None = None

    def spread(self, name: str, figure: Callable[[Sample], float]) -> Spread:
        """Return the spread of one figure of one proxy."""
        return Spread.of(figure(sample) for sample in self.samples[name])

    def ratio(self, rival: str, figure: Callable[[Sample], float]) -> Spread:
        """Return one figure of ours by that of a rival, each round compared in itself."""
        rounds = zip(self.samples[OURS], self.samples[rival], strict=True)
        return Spread.of(figure(ours) / figure(theirs) for ours, theirs in rounds)

    def rivals(self) -> list[str]:
        """Return with whom ours can be compared."""
        return [name for name in self.samples if name != OURS] if OURS in self.samples else []


def rate(sample: Sample) -> float:
    """Return requests per second."""
    return sample.requests_per_second


def cpu(sample: Sample) -> float:
    """Return CPU microseconds per request."""
    return sample.cpu_us


def busy(sample: Sample) -> float:
    """Return the share of its core that the proxy had."""
    return sample.requests_per_second * sample.cpu_us / 1e6


def table(cases: Sequence[Case]) -> str:
    """Return the table, and below it what has to be known of it."""
    rows: list[Sequence[str]] = [_COLUMNS]
    for case in cases:
        rows += [_proxy_row(case, name) for name in case.samples]
        rows += [_ratio_row(case, rival) for rival in case.rivals()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [_line(row, widths) for row in rows]
    if any(_is_starved(case, name) for case in cases for name in case.samples):
        lines.append(_STARVED)
    lines += [f"FAILED {case.scenario.name}: {case.failure}" for case in cases if case.failure]
    return "\n".join(lines)


def _is_starved(case: Case, name: str) -> bool:
    return case.spread(name, busy).least < _WHOLE_CORE


def _proxy_row(case: Case, name: str) -> Sequence[str]:
    return (
        case.scenario.name,
        name,
        case.spread(name, rate).text(",.0f"),
        f"{case.spread(name, lambda sample: sample.p50_ms).median:.2f}",
        f"{case.spread(name, lambda sample: sample.p99_ms).median:.2f}",
        case.spread(name, cpu).text(".1f"),
        f"{case.spread(name, lambda sample: sample.user_us).median:.1f}",
        f"{case.spread(name, lambda sample: sample.system_us).median:.1f}",
        f"{case.spread(name, busy).median:.0%}{'*' if _is_starved(case, name) else ''}",
        f"{case.rss_kib[name] / 1024:.1f}",
    )


def _ratio_row(case: Case, rival: str) -> Sequence[str]:
    rates, costs = case.ratio(rival, rate), case.ratio(rival, cpu)
    name = f"ratio to {rival}"
    costs_text = costs.text(".2f")
    return (case.scenario.name, name, rates.text(".2f"), "", "", costs_text, "", "", "", "")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column < _LEFT_ALIGNED else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def case_data(case: Case) -> dict[str, Any]:
    """Return a case as JSON knows it: every sample, and what the table tells of them."""
    return {
        "scenario": asdict(case.scenario),
        "failure": case.failure,
        "proxies": {name: _proxy_data(case, name) for name in case.rss_kib},
        "ratios": {
            rival: {
                "requests_per_second": asdict(case.ratio(rival, rate)),
                "cpu_us": asdict(case.ratio(rival, cpu)),
            }
            for rival in case.rivals()
        },
    }


def _proxy_data(case: Case, name: str) -> dict[str, Any]:
    return {
        "requests_per_second": asdict(case.spread(name, rate)),
        "cpu_us": asdict(case.spread(name, cpu)),
        "rss_kib": case.rss_kib[name],
        "samples": [asdict(sample) for sample in case.samples[name]],
    }


def save(path: Path, data: dict[str, Any]) -> None:
    """Write the JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
