"""Cases with made-up samples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from bench.load.cases import Case
from bench.load.scenarios import Layout, Scenario

SMALL: Final = Scenario("get-small-c64", "requests", connections=64)


def case_of(
    samples: Mapping[str, Sequence[Mapping[str, float]]],
    scenario: Scenario = SMALL,
    cores: Layout = "two",
) -> Case:
    """Return the case of a scenario on some cores, with the samples of each proxy."""
    case = Case(replace(scenario, cores=cores))
    case.samples.update({name: list(rounds) for name, rounds in samples.items()})
    return case


def cpu(*values: float) -> list[dict[str, float]]:
    """Return samples with the CPU time of each round."""
    return [{"cpu_us": value} for value in values]
