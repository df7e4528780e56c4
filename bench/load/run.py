"""Compares the proxy and other proxies under the same load, in turns."""

import argparse
import fnmatch
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.load.cases import Case
from bench.load.machine import builds, commit, machine, versions
from bench.load.processes import BenchError, Cores, find_program
from bench.load.programs import MARK, OURS, PROXIES, PURE, program, upstream_name
from bench.load.report import report
from bench.load.results import case_data, save, verdict_data
from bench.load.rounds import UPSTREAM, WARM_UP_SECONDS, Plan, log, run_scenario
from bench.load.scenarios import Scenario, load_scenarios
from bench.load.targets import CheckResult, judge, load_targets, verdict_table

RESULTS = Path(__file__).parents[1] / "results"
_SHORT_KIND = "requests"
_SHORT_PROXIES = [OURS, MARK]
_CANNOT_RUN = 2


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all scenarios and all proxies")
    parser.add_argument(
        "--busy-poll",
        action="store_true",
        help="one connection alone, with and without busy polling",
    )
    parser.add_argument(
        "--observed",
        action="store_true",
        help="the same proxy without observability, with error logs, and with metrics",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds per scenario (default 5)")
    parser.add_argument(
        "--starts",
        type=int,
        default=1,
        help="how often all programs are started, with all rounds for each start (default 1)",
    )
    parser.add_argument("--seconds", type=int, default=2, help="seconds per run (default 2)")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this, or these (*); repeatable"
    )
    parser.add_argument("--proxy", action="append", choices=PROXIES, help="only this; repeatable")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the JSON")
    parser.add_argument("--no-save", action="store_true", help="print the tables and save nothing")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.seconds, options.starts) < 1:
        parser.error("--rounds, --seconds and --starts need at least 1")
    return options


def plan_from(options: argparse.Namespace) -> Plan:
    """Return the plan of a run; raise BenchError if it is impossible here."""
    if not sys.platform.startswith("linux"):
        raise BenchError("needs Linux: CPU time and pinning come from its kernel")
    proxies = options.proxy or _default_proxies(options)
    for name in [] if options.full and not options.proxy else proxies:
        program(name)
    scenarios = list(_chosen(options))
    if any(scenario.kind == "requests" for scenario in scenarios):
        program("wrk")
    cores = Cores.available()
    return Plan(scenarios, proxies, options.rounds, options.seconds, cores, options.starts)


def _default_proxies(options: argparse.Namespace) -> list[str]:
    if options.busy_poll:
        return [OURS, MARK, *_variants("busy-poll")]
    if options.observed:
        return [OURS, *_variants("observed")]
    return _variants(None) if options.full else _SHORT_PROXIES


def _variants(option: str | None) -> list[str]:
    return [name for name in PROXIES if PROXIES[name].variant == option]


def _is_default(options: argparse.Namespace, scenario: Scenario) -> bool:
    """Return whether a scenario runs by default; a single connection mostly waits."""
    if options.busy_poll:
        return scenario.kind in ("requests", "ping-pong") and scenario.connections == 1
    return options.full or (scenario.kind == _SHORT_KIND and scenario.connections > 1)


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    """Return the selected scenarios that can run here."""
    known = load_scenarios()
    chosen: list[Scenario] = []
    for pattern in options.scenario or ():
        names = fnmatch.filter(known, pattern)
        if not names:
            raise BenchError(f"no scenario {pattern}; there are {', '.join(known)}")
        chosen += [known[name] for name in names if known[name] not in chosen]
    if not options.scenario:
        chosen = [case for case in known.values() if _is_default(options, case)]
    if find_program("cc") is None:
        for scenario in [one for one in chosen if upstream_name(one) == "stream"]:
            log(f"left out {scenario.name}: its load and its upstream need a C compiler")
            chosen.remove(scenario)
    return chosen


def result_data(
    plan: Plan, cases: Sequence[Case], verdicts: Sequence[CheckResult], when: datetime
) -> dict[str, Any]:
    """Return the JSON data of a run."""
    return {
        "date": when.isoformat(timespec="seconds"),
        "commit": commit(),
        "builds": {name: text for name, text in builds().items() if name in plan.proxies},
        "machine": machine(),
        "versions": versions(),
        "method": {
            "generators": "wrk, one thread; stream.c, one thread",
            "upstreams": sorted({upstream_name(scenario) for scenario in plan.scenarios}),
            "starts": plan.starts,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "warm_up_seconds": WARM_UP_SECONDS,
            "proxy_cores": sorted(plan.cores.proxy),
            "load_cores": sorted(plan.cores.load),
        },
        "targets": verdict_data(verdicts),
        "cases": [case_data(case) for case in cases],
    }


def _summary(plan: Plan, data: dict[str, Any], cases: Sequence[Case]) -> str:
    lines = [f"{name}: {text}" for name, text in data["builds"].items()]
    lines.append(f"medians of {plan.starts * plan.rounds} rounds of {plan.seconds} s (min..max)")
    return "\n".join(["", *lines, "", report(cases)])


def raise_file_limit() -> None:
    """Raise the limit of descriptors for child programs to the maximum."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def main() -> int:
    """Measure, print and save; return 1 if an important proxy failed, 2 if nothing can run."""
    options = parse()
    if options.list:
        print(*load_scenarios(), sep="\n")
        return 0
    try:
        plan = plan_from(options)
    except BenchError as error:
        log(f"bench: {error}")
        return _CANNOT_RUN
    raise_file_limit()
    when = datetime.now(UTC)
    cases = [run_scenario(plan, scenario) for scenario in plan.scenarios]
    verdicts = list(judge(cases, load_targets()))
    data = result_data(plan, cases, verdicts, when)
    print(_summary(plan, data, cases))
    if verdicts:
        print(f"\n{verdict_table(verdicts)}")
    if not options.no_save:
        print(f"\nsaved in {save(options.output, data)}")
    return int(any({OURS, PURE, MARK, UPSTREAM} & case.failures.keys() for case in cases))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        log("interrupted")
        sys.exit(130)
