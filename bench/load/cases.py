"""Samples -> medians and ratios, with their spread."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.load.measure import Sample
from bench.load.programs import MARK
from bench.load.scenarios import Scenario


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

    def over(self, base: float) -> "Spread":
        """Return the ratios to another value."""
        return Spread(self.median / base, self.least / base, self.most / base)

    def text(self, form: str) -> str:
        """Return the value and the range, formatted."""
        return f"{self.median:{form}} ({self.least:{form}}..{self.most:{form}})"


@dataclass
class Case:
    """What became of one scenario: a Sample for each proxy and round, failures, and who is absent.

    A proxy that fails once is out: its samples are dropped and its failure is told.
    """

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def fail(self, name: str, reason: str) -> None:
        """Put a proxy out."""
        self.samples.pop(name, None)
        self.failures[name] = reason

    def figures(self, name: str) -> list[str]:
        """Return which figures there are of a proxy."""
        return list(self.samples[name][0])

    def spread(self, name: str, figure: str) -> Spread | None:
        """Return the spread of one figure of one proxy, or None where there is no such figure."""
        if not self._has(name, figure):
            return None
        return Spread.of(sample[figure] for sample in self.samples[name])

    def ratio(self, name: str, figure: str, to: str = MARK) -> Spread | None:
        """Return one figure of a proxy by that of another, each round compared in itself."""
        if not (self._has(name, figure) and self._has(to, figure)):
            return None
        rounds = zip(self.samples[name], self.samples[to], strict=True)
        pairs = [(ours[figure], theirs[figure]) for ours, theirs in rounds if theirs[figure]]
        return Spread.of(ours / theirs for ours, theirs in pairs) if pairs else None

    def _has(self, name: str, figure: str) -> bool:
        return bool(self.samples.get(name)) and figure in self.samples[name][0]
