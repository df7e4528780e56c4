"""Reads targets.toml, and checks which targets are met."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.cases import Case, Spread
from bench.load.programs import OURS
from bench.load.report import table

TARGETS = Path(__file__).with_name("targets.toml")


@dataclass(frozen=True)
class Target:
    """A bound for the median of a figure in some scenarios, or for a ratio.

    A ratio is `to` another proxy, or to the same proxy in the scenario named by `beside`.
    """

    figure: str
    scenarios: tuple[str, ...]
    proxy: str = OURS
    to: str | None = None
    beside: str | None = None
    least: float | None = None
    most: float | None = None

    def spread(self, case: Case, cases: Sequence[Case]) -> Spread | None:
        """Return the measured value or ratio in one of the cases."""
        if self.to is not None:
            return case.ratio(self.proxy, self.figure, self.to)
        spread = case.spread(self.proxy, self.figure)
        if spread is None or self.beside is None:
            return spread
        others = [other for other in cases if other.scenario.name == self.beside]
        base = others[0].spread(self.proxy, self.figure) if others else None
        return None if base is None else spread.over(base.median)

    @property
    def is_ratio(self) -> bool:
        """Return whether this is a bound for a ratio."""
        return self.to is not None or self.beside is not None

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
    """The result of a target in one scenario; `is_clear` if all rounds agree."""

    target: Target
    scenario: str
    spread: Spread

    @property
    def is_met(self) -> bool:
        """Return whether the median is within the bound."""
        return self.target.is_met(self.spread.median)

    @property
    def is_clear(self) -> bool:
        """Return whether every round is on the median's side of the bound."""
        ends = (self.spread.least, self.spread.most)
        return all(self.target.is_met(end) == self.is_met for end in ends)


def load_targets(path: Path = TARGETS) -> list[Target]:
    """Return all targets, in the order of the file."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["targets"]
    return [Target(**entry | {"scenarios": tuple(entry["scenarios"])}) for entry in entries]


def judge(cases: Sequence[Case], targets: Sequence[Target]) -> Iterator[CheckResult]:
    """Compare the measured values with the targets."""
    for target in targets:
        for case in cases:
            if case.scenario.name in target.scenarios:
                spread = target.spread(case, cases)
                if spread is not None:
                    yield CheckResult(target, case.scenario.name, spread)


def verdict_table(verdicts: Sequence[CheckResult]) -> str:
    """Return a table with a row for each result."""
    head = ("case", "proxy", "figure", "target", "measured", "")
    return table(head, [_row(verdict) for verdict in verdicts])


def _row(verdict: CheckResult) -> Sequence[str]:
    target = verdict.target
    mark = target.to or target.beside
    figure = f"{target.figure} to {mark}" if mark else target.figure
    form = ".2f" if target.is_ratio else ",.0f"
    word = "met" if verdict.is_met else "MISSED"
    return (
        verdict.scenario,
        target.proxy,
        figure,
        target.bound(),
        verdict.spread.text(form),
        word if verdict.is_clear else f"{word}, not in every round",
    )
