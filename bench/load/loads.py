"""What a generator is told to do, and the counts that it returns.

Knows no generator; `generators` chooses one.
"""

from dataclasses import dataclass
from pathlib import Path

from bench.load.processes import Cores
from bench.load.scenarios import Scenario

# `count`, `microseconds`, and for some loads `p50`, `p99` and failures
Counts = dict[str, float]
FIELD = "X-Cmux-Port-Internal"


@dataclass(frozen=True)
class Load:
    """The load of a proxy: the scenario, the upstream, the seconds and the cores.

    `more_ports` are those of the upstream beside the first, for scenarios with several.
    """

    scenario: Scenario
    upstream: int
    seconds: int
    cores: Cores
    directory: Path
    more_ports: tuple[int, ...] = ()
