"""Compares the proxy and other proxies under the same load, in turns."""

import resource
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bench.load.cases import Case
from bench.load.launch import upstream_name
from bench.load.machine import builds, commit, machine, versions
from bench.load.options import parse, plan_from
from bench.load.processes import BenchError
from bench.load.programs import MARK, NEWER, OURS, PURE
from bench.load.report import report
from bench.load.results import case_data, save, verdict_data
from bench.load.rounds import ROUNDS, UPSTREAM, WARM_UP_SECONDS, Plan, log, run_scenario
from bench.load.scenarios import load_scenarios
from bench.load.targets import CheckResult, judge, load_targets, verdict_table

_IMPORTANT = {OURS, PURE, MARK, NEWER, UPSTREAM}  # the run fails if one of these does
_CANNOT_RUN = 2


def result_data(
    plan: Plan, cases: Sequence[Case], verdicts: Sequence[CheckResult], when: datetime
) -> dict[str, Any]:
    """Return the JSON data of a run."""
    return {
        "date": when.isoformat(timespec="seconds"),
        "took_seconds": round((datetime.now(UTC) - when).total_seconds()),
        "commit": commit(),
        "builds": {name: text for name, text in builds().items() if name in plan.proxies},
        "prints": {name: text for case in cases for name, text in case.prints.items() if text},
        "machine": machine(),
        "versions": versions(),
        "method": {
            "generators": "wrk, h2load, stream.c, one thread each; openssl s_time",
            "upstreams": sorted({upstream_name(scenario) for scenario in plan.scenarios}),
            "starts": plan.starts,
            "rounds": plan.rounds or ROUNDS,
            "seconds": plan.seconds,
            "warm_up_seconds": WARM_UP_SECONDS,
            "proxy_cores": sorted(plan.cores.proxy),
            "load_cores": sorted(plan.cores.load),
            "same_core": sorted(plan.cores.proxy),
        },
        "targets": verdict_data(verdicts),
        "cases": [case_data(case) for case in cases],
    }


def _summary(plan: Plan, data: dict[str, Any], cases: Sequence[Case]) -> str:
    """Return what took part, what the figures are, and the tables."""
    # A cmux-proxy prints more at its start than --version does: the event loop.
    known = data["versions"] | data["builds"] | data["prints"]
    names = dict.fromkeys(name for case in cases for name in case.samples)
    lines = [f"{name}: {known[name]}" for name in names if name in known]
    counts = sorted({plan.starts * plan.rounds_of(scenario) for scenario in plan.scenarios})
    rounds = " or ".join(map(str, counts))
    lines.append(f"medians of {rounds} rounds of {plan.seconds} s or more (min..max)")
    lines.append(f"measured in {data['took_seconds'] / 60:.0f} minutes")
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
    return int(any(_IMPORTANT & case.failures.keys() for case in cases))


if __name__ == "__main__":
    # The programs that run are stopped on the way out, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        log("interrupted")
        sys.exit(130)
