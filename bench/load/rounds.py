"""Runs a scenario: every proxy in turn, round after round.

Every scenario starts new programs. After a warm-up each round loads one proxy after the other, in
an order that rotates from round to round, so that other load of the machine affects all proxies.
Idle connections, attacks and starts are measured with a new process in every round.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.load.attacks import measure_attack
from bench.load.cases import Case
from bench.load.footprint import measure_idle, measure_start
from bench.load.launch import start_proxy, start_upstream
from bench.load.loads import Load
from bench.load.measure import Sample, measure
from bench.load.probe import await_readiness
from bench.load.processes import BenchError, Cores, Process, free_ports
from bench.load.programs import PROXIES, program
from bench.load.scenarios import UNITS, Scenario

WARM_UP_SECONDS = 1
ROUNDS = 5
UPSTREAM = "upstream"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """The scenarios and proxies to measure, and how often.

    `rounds` is None if each scenario has its number, or five. `is_chosen` if the command names the
    proxies.
    """

    scenarios: Sequence[Scenario]
    proxies: Sequence[str]
    rounds: int | None
    seconds: int
    cores: Cores
    starts: int = 1
    is_chosen: bool = False

    def rounds_of(self, scenario: Scenario) -> int:
        """Return the number of rounds of a scenario."""
        return self.rounds or scenario.rounds or ROUNDS

    def seconds_of(self, scenario: Scenario) -> int:
        """Return the seconds of a run of a scenario."""
        return max(self.seconds, scenario.seconds)

    def cores_of(self, scenario: Scenario) -> Cores:
        """Return the cores of a scenario."""
        return self.cores.shared() if scenario.cores == "same" else self.cores

    def proxies_of(self, scenario: Scenario) -> list[str]:
        """Return the proxies that take part in a scenario if they are installed."""
        able = [name for name in self.proxies if PROXIES[name].can(scenario)]
        return [name for name in able if self.is_chosen or PROXIES[name].is_default(scenario)]


def run_scenario(plan: Plan, scenario: Scenario) -> Case:
    """Run all rounds of all starts; a failure ends the part of one proxy, or the scenario."""
    case = Case(scenario)
    for _ in range(plan.starts):
        _run_start(plan, scenario, case)
    return case


def _run_start(plan: Plan, scenario: Scenario, case: Case) -> None:
    candidates = [name for name in plan.proxies_of(scenario) if name not in case.failures]
    names = [name for name in candidates if _is_installed(case, name)]
    cores = plan.cores_of(scenario)
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            more_ports = tuple(free_ports(scenario.ports - 1))
            upstream = start_upstream(scenario, cores, directory, more_ports)
            port = stack.enter_context(upstream).port
            load = Load(scenario, port, plan.seconds_of(scenario), cores, directory, more_ports)
            if scenario.kind in UNITS:
                _load_rounds(plan, case, load, _start(stack, case, load, names))
            else:
                _fresh_rounds(plan, case, load, names)
    except BenchError as error:
        _failed(case, UPSTREAM, error)


def _is_installed(case: Case, name: str) -> bool:
    """Return whether a proxy is installed; record why it is not."""
    try:
        program(name)
    except BenchError as error:
        case.absent[name] = str(error)
    return name not in case.absent


def _start(stack: ExitStack, case: Case, load: Load, names: Sequence[str]) -> list[Process]:
    """Return the proxies that have started and done their warm-up."""
    started = []
    for name in names:
        try:
            proxy = stack.enter_context(_proxy(load, name))
            await_readiness(load, proxy)
            measure(replace(load, seconds=_warm_up_seconds(load.scenario)), proxy)
            case.prints[name] = proxy.start_line()
        except BenchError as error:
            _failed(case, name, error)
        else:
            started.append(proxy)
            _pause(proxy)
    return started


def _warm_up_seconds(scenario: Scenario) -> int:
    """Return the seconds until every connection has been used, on a slow machine too."""
    return WARM_UP_SECONDS + scenario.connections // 1000


def _load_rounds(plan: Plan, case: Case, load: Load, proxies: Sequence[Process]) -> None:
    for number in range(plan.rounds_of(case.scenario)):
        for proxy in _rotated(proxies, number):
            if proxy.name not in case.failures:
                try:
                    proxy.resume()
                    _add(case, proxy.name, measure(load, proxy))
                except BenchError as error:
                    _failed(case, proxy.name, error)
                finally:
                    _pause(proxy)
        _log_round(case, number)


def _pause(proxy: Process) -> None:
    """Pause a proxy that would use the core without load."""
    if PROXIES[proxy.name].spins:
        proxy.pause()


def _fresh_rounds(plan: Plan, case: Case, load: Load, names: Sequence[str]) -> None:
    for number in range(plan.rounds_of(case.scenario)):
        for name in _rotated([name for name in names if name not in case.failures], number):
            try:
                with _proxy(load, name) as proxy:
                    _add(case, name, _measure_fresh(load, proxy))
            except BenchError as error:
                _failed(case, name, error)
        _log_round(case, number)


def _measure_fresh(load: Load, proxy: Process) -> Sample:
    if load.scenario.kind == "start":
        return measure_start(proxy)
    return (measure_idle if load.scenario.kind == "idle" else measure_attack)(load, proxy)


def _proxy(load: Load, name: str) -> Process:
    return start_proxy(name, load.scenario, load.upstream, load.cores, load.directory)


def _rotated(items: Sequence[_T], number: int) -> Iterator[_T]:
    first = number % len(items) if items else 0
    yield from items[first:]
    yield from items[:first]


def _add(case: Case, name: str, sample: Sample) -> None:
    case.samples.setdefault(name, []).append(sample)


def _failed(case: Case, name: str, error: BenchError) -> None:
    case.fail(name, str(error))
    log(f"{case.scenario.title}: FAILED: {name}: {error}")


def _log_round(case: Case, number: int) -> None:
    """Log the first figure, and the CPU time, of each proxy."""
    parts = []
    for name, samples in case.samples.items():
        figure, value = next(iter(samples[-1].items()))
        cpu = f", {samples[-1]['cpu_us']:.1f} us" if "cpu_us" in samples[-1] else ""
        parts.append(f"{name} {value:,.0f} {figure.replace('_', ' ')}{cpu}")
    log(f"{case.scenario.title}: round {number + 1}: {'; '.join(parts)}")


def log(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)
