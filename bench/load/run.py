"""Puts the proxy and its rivals under the same load, in turns, and compares them.

Every scenario starts its programs anew. After a warm-up each round loads one proxy after the other,
in an order that turns from round to round, so that what else the machine does meets all of them.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.load.machine import build, commit, machine, versions
from bench.load.measure import Sample, probe, run_wrk
from bench.load.processes import BenchError, Cores, Process
from bench.load.programs import PROXIES, require, start_proxy, start_upstream, upstream_name
from bench.load.report import Case, case_data, save, table
from bench.load.scenarios import Scenario, load_scenarios

RESULTS = Path(__file__).parents[1] / "results"
_WARM_UP_SECONDS = 1
_CANNOT_RUN = 2


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    scenarios: list[Scenario]
    proxies: list[str]
    rounds: int
    seconds: int
    cores: Cores


def measure(plan: Plan, scenario: Scenario) -> Case:
    """Run all rounds of one scenario; a failure ends this scenario only."""
    case = Case(scenario)
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            upstream = stack.enter_context(start_upstream(plan.cores, directory))
            proxies = [
                stack.enter_context(start_proxy(name, plan.cores, directory))
                for name in plan.proxies
            ]
            _run_rounds(plan, case, proxies, upstream)
    except BenchError as error:
        case.failure = str(error)
        _tell(f"{scenario.name}: FAILED: {error}")
    return case


def _run_rounds(plan: Plan, case: Case, proxies: list[Process], upstream: Process) -> None:
    for proxy in proxies:
        probe(proxy, upstream, case.scenario)
        run_wrk(proxy, upstream, case.scenario, _WARM_UP_SECONDS, plan.cores)
    samples: dict[str, list[Sample]] = {proxy.name: [] for proxy in proxies}
    for number in range(plan.rounds):
        turn = number % len(proxies)
        for proxy in proxies[turn:] + proxies[:turn]:
            sample = run_wrk(proxy, upstream, case.scenario, plan.seconds, plan.cores)
            samples[proxy.name].append(sample)
            _tell(
                f"{case.scenario.name}: round {number + 1} of {plan.rounds}: {proxy.name} "
                f"{sample.requests_per_second:,.0f}/s, {sample.cpu_us:.1f} us"
            )
    case.samples = samples
    case.rss_kib = {proxy.name: proxy.rss_kib() for proxy in proxies}


def result_data(plan: Plan, cases: Sequence[Case], when: datetime) -> dict[str, Any]:
    """Return everything that is kept of a run."""
    return {
        "date": when.isoformat(timespec="seconds"),
        "commit": commit(),
        "build": build(),
        "machine": machine(),
        "versions": versions(),
        "method": {
            "generator": "wrk, one thread",
            "upstream": upstream_name(),
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "warm_up_seconds": _WARM_UP_SECONDS,
            "proxy_cores": sorted(plan.cores.proxy),
            "load_cores": sorted(plan.cores.load),
        },
        "cases": [case_data(case) for case in cases],
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds per scenario (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds per run (default 3)")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument("--proxy", action="append", choices=PROXIES, help="only this; repeatable")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the JSON")
    parser.add_argument("--no-save", action="store_true", help="print the table and keep nothing")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.seconds) < 1:
        parser.error("--rounds and --seconds need at least 1")
    return options


def plan_from(options: argparse.Namespace) -> Plan:
    """Return what to do; raise BenchError when it cannot be done here."""
    if not sys.platform.startswith("linux"):
        raise BenchError("needs Linux: CPU time and pinning come from its kernel")
    scenarios = load_scenarios()
    unknown = set(options.scenario or ()) - set(scenarios)
    if unknown:
        raise BenchError(f"no scenario {', '.join(unknown)}; there are {', '.join(scenarios)}")
    proxies = options.proxy or list(PROXIES)
    require("wrk", *(name for name in proxies if name == "haproxy"))
    chosen = [scenarios[name] for name in options.scenario or scenarios]
    return Plan(chosen, proxies, options.rounds, options.seconds, Cores.available())


def main() -> int:
    """Measure, print and save; the status is 1 when a scenario failed, 2 when none can run."""
    options = parse()
    try:
        plan = plan_from(options)
    except BenchError as error:
        _tell(f"bench: {error}")
        return _CANNOT_RUN
    when = datetime.now(UTC)
    cases = [measure(plan, scenario) for scenario in plan.scenarios]
    data = result_data(plan, cases, when)
    print(f"\n{data['build']}; medians of {plan.rounds} runs of {plan.seconds} s (least..most)\n")
    print(table(cases))
    if not options.no_save:
        commit_hash = data["commit"]["hash"][:7] + ("-dirty" if data["commit"]["dirty"] else "")
        path = options.output / f"{when:%Y-%m-%dT%H%M}-{commit_hash}.json"
        save(path, data)
        print(f"\nkept in {path}")
    return int(any(case.failure for case in cases))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _tell("interrupted")
        sys.exit(130)
