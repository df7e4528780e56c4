"""Reads targets.toml, and checks which targets are met."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load.cases import Case, Spread
from bench.load.programs import OURS
from bench.load.report import table
from bench.load.scenarios import Layout, Scenario

TARGETS = Path(__file__).with_name("targets.toml")
_WHOLE = 10  # bounds from here on are compared with whole numbers
Measured = tuple[Spread | None, str | None]  # a value or a ratio, and to what proxy


@dataclass(frozen=True)
class Target:
    """A bound for the median of a figure in some scenarios, or for a ratio.

    The ratio is that to the first proxy of `to` that took part, or to the scenario `beside` on the
    same cores.
    """

    figure: str
    scenarios: tuple[str, ...]
    cores: tuple[Layout, ...] = ("two",)
    proxy: str = OURS
    to: tuple[str, ...] = ()
    beside: str | None = None
    least: float | None = None
    most: float | None = None

    def is_for(self, scenario: Scenario) -> bool:
        """Return whether this is a target of the scenario, on its cores."""
        return scenario.name in self.scenarios and scenario.cores in self.cores

    def measured(self, case: Case, cases: Sequence[Case]) -> Measured:
        """Return the measured value or ratio in one of the cases."""
        if self.to:
            return self._ratio(case)
        spread = case.spread(self.proxy, self.figure)
        return (spread if self.beside is None else self._beside(spread, case, cases)), None

    def _ratio(self, case: Case) -> Measured:
        for mark in self.to:
            spread = case.ratio(self.proxy, self.figure, mark)
            if spread is not None:
                return spread, mark
        return None, None

    def _beside(self, spread: Spread | None, case: Case, cases: Sequence[Case]) -> Spread | None:
        wanted = (self.beside, case.scenario.cores)
        others = [one for one in cases if (one.scenario.name, one.scenario.cores) == wanted]
        base = others[0].spread(self.proxy, self.figure) if others else None
        return spread.over(base.median) if spread and base else None

    def has_lost(self, case: Case) -> bool:
        """Return whether a proxy that the target needs is missing or has failed."""
        return not (case.failures.keys() | case.absent.keys()).isdisjoint({self.proxy, *self.to})

    @property
    def is_ratio(self) -> bool:
        """Return whether this is a bound for a ratio."""
        return bool(self.to) or self.beside is not None

    def is_met(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def bound(self) -> str:
        """Return the bound as text."""
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"


@dataclass(frozen=True)
class CheckResult:
    """The result of a target in one scenario; without a spread it could not be measured."""

    target: Target
    scenario: Scenario
    spread: Spread | None
    to: str | None = None

    @property
    def is_met(self) -> bool:
        """Return whether the median is within the bound."""
        return self.spread is not None and self.target.is_met(self.spread.median)

    @property
    def is_clear(self) -> bool:
        """Return whether every round is on the median's side of the bound."""
        ends = (self.spread.least, self.spread.most) if self.spread else ()
        return all(self.target.is_met(end) == self.is_met for end in ends)

    def word(self) -> str:
        """Return the result as text."""
        if self.spread is None:
            return "NOT MEASURED"
        return "met" if self.is_met else "MISSED"


def load_targets(path: Path = TARGETS) -> list[Target]:
    """Return all targets, in the order of the file."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["targets"]
    return [Target(**{key: _frozen(value) for key, value in entry.items()}) for entry in entries]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def judge(cases: Sequence[Case], targets: Sequence[Target]) -> Iterator[CheckResult]:
    """Compare the measured values with the targets."""
    for target in targets:
        for case in cases:
            if target.is_for(case.scenario):
                spread, to = target.measured(case, cases)
                if spread is not None or target.has_lost(case):
                    yield CheckResult(target, case.scenario, spread, to)


def verdict_table(verdicts: Sequence[CheckResult]) -> str:
    """Return a table with a row for each result, and their number below."""
    head = ("case", "cores", "proxy", "figure", "target", "measured", "")
    met = sum(verdict.is_met for verdict in verdicts)
    return f"{table(head, list(map(_row, verdicts)))}\n{met} of {len(verdicts)} targets are met"


def _row(verdict: CheckResult) -> Sequence[str]:
    target = verdict.target
    mark = verdict.to or " or ".join(target.to) or target.beside
    figure = f"{target.figure} to {mark}" if mark else target.figure
    form = ",.0f" if (target.most or 0) >= _WHOLE else ".2f"
    return (
        verdict.scenario.name,
        verdict.scenario.cores,
        target.proxy,
        figure,
        target.bound(),
        verdict.spread.text(form) if verdict.spread else "",
        verdict.word() if verdict.is_clear else f"{verdict.word()}, not in every round",
    )
