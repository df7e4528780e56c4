"""Turns samples into medians and ratios, with their ranges."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.load.measure import Sample
from bench.load.programs import MARK
from bench.load.scenarios import Scenario


@dataclass(frozen=True)
class Spread:
    """A median and its range, from `least` to `most`; the results name the range so."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the median of the values."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def over(self, base: float) -> "Spread":
        """Return the ratios to another value."""
        return Spread(self.median / base, self.least / base, self.most / base)

    def text(self, form: str) -> str:
        """Return the value and the range, formatted."""
        return f"{self.median:{form}} ({self.least:{form}}..{self.most:{form}})"


@dataclass
class Case:
    """The result of one scenario: a Sample for each proxy and round, failures, and absent proxies.

    If a proxy fails once, its samples are dropped and its failure is reported. `prints` has what a
    proxy has printed about itself at its start.
    """

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    prints: dict[str, str] = field(default_factory=dict)

    def fail(self, name: str, reason: str) -> None:
        """Drop the samples of a proxy, and record its failure."""
        self.samples.pop(name, None)
        self.failures[name] = reason

    def figures(self, name: str) -> list[str]:
        """Return the names of the figures of a proxy."""
        return list(self.samples[name][0])

    def spread(self, name: str, figure: str) -> Spread | None:
        """Return the spread of one figure of one proxy, or None if it has no such figure."""
        if not self._has(name, figure):
            return None
        return Spread.of(sample[figure] for sample in self.samples[name])

    def ratio(self, name: str, figure: str, to: str = MARK) -> Spread | None:
        """Return the ratio of a figure to that of another proxy, compared within each round."""
        if not (self._has(name, figure) and self._has(to, figure)):
            return None
        rounds = zip(self.samples[name], self.samples[to], strict=True)
        pairs = [(sample[figure], base[figure]) for sample, base in rounds if base[figure]]
        return Spread.of(value / base for value, base in pairs) if pairs else None

    def _has(self, name: str, figure: str) -> bool:
        return bool(self.samples.get(name)) and figure in self.samples[name][0]
