"""The command line of the benchmark -> a Plan: which scenarios, on which cores, which proxies.

`run` carries the plan out.
"""

import argparse
import fnmatch
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.load.launch import upstream_name
from bench.load.processes import BenchError, Cores, find_program
from bench.load.programs import MARK, OURS, PROXIES, program
from bench.load.rounds import ROUNDS, Plan, log
from bench.load.scenarios import LAYOUTS, UNITS, Layout, Scenario, laid_out, load_scenarios

RESULTS = Path(__file__).parents[1] / "results"
_SHORT_PROXIES = [OURS, MARK]
_SECONDS = 2
_FULL_SECONDS = 1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Compares the proxy and other proxies under the same load, in turns.",
    )
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
    parser.add_argument(
        "--loops", action="store_true", help="also the same proxy on each of its event loops"
    )
    _add_measurement(parser)
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this, or these (*); repeatable"
    )
    parser.add_argument("--proxy", action="append", choices=PROXIES, help="only this; repeatable")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the JSON")
    parser.add_argument("--no-save", action="store_true", help="print the tables and save nothing")
    return parser.parse_args(arguments)


def _add_measurement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cores",
        choices=[*LAYOUTS, "both"],
        help="where load and upstream run: on the same core as the proxy, or on others (two, the "
        "default); both is the default with --full",
    )
    parser.add_argument(
        "--rounds",
        type=_at_least_one,
        help=f"rounds per scenario (default {ROUNDS}; with --full some have more or less)",
    )
    parser.add_argument(
        "--starts",
        type=_at_least_one,
        default=1,
        help="how often all programs are started, with all rounds for each start (default 1)",
    )
    parser.add_argument(
        "--seconds",
        type=_at_least_one,
        help=f"seconds per run (default {_SECONDS}, or {_FULL_SECONDS} with --full)",
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("needs at least 1")
    return number


def plan_from(options: argparse.Namespace) -> Plan:
    """Return the plan of a run; raise BenchError if it is impossible here."""
    if not sys.platform.startswith("linux"):
        raise BenchError("needs Linux: CPU time and pinning come from its kernel")
    proxies = options.proxy or _default_proxies(options)
    for name in [] if options.full and not options.proxy else proxies:
        program(name)
    layouts = _layouts(options)
    scenarios = [one for scenario in _chosen(options) for one in laid_out(scenario, layouts)]
    if any(one.kind == "requests" and not one.is_http2 for one in scenarios):
        program("wrk")
    return Plan(
        scenarios,
        proxies,
        rounds=options.rounds or (None if options.full else ROUNDS),
        seconds=options.seconds or (_FULL_SECONDS if options.full else _SECONDS),
        cores=Cores.available(),
        starts=options.starts,
        is_chosen=bool(options.proxy),
    )


def _layouts(options: argparse.Namespace) -> Sequence[Layout]:
    """Return where the load runs; on a machine with one core that is the core of the proxy."""
    wanted = options.cores or ("both" if options.full else "two")
    if len(os.sched_getaffinity(0)) == 1 and wanted != "same":
        log("only one core: load and upstream run on the core of the proxy")
        wanted = "same"
    return [layout for layout in LAYOUTS if wanted in (layout, "both")]


def _default_proxies(options: argparse.Namespace) -> list[str]:
    loops = _variants("loops") if options.loops else []
    if options.busy_poll:
        return [OURS, *loops, MARK, *_variants("busy-poll")]
    if options.observed:
        return [OURS, *loops, *_variants("observed")]
    proxies = _variants(None) if options.full else _SHORT_PROXIES
    return [proxies[0], *loops, *proxies[1:]]


def _variants(option: str | None) -> list[str]:
    return [name for name in PROXIES if PROXIES[name].variant == option]


def _is_default(options: argparse.Namespace, scenario: Scenario) -> bool:
    """Return whether a scenario runs by default; a single connection mostly waits."""
    is_special = scenario.is_full_only or scenario.is_http2 or scenario.is_tls
    if options.busy_poll:
        is_polled = scenario.kind in ("requests", "ping-pong") and scenario.connections == 1
        return is_polled and not is_special
    is_plain = scenario.kind == "requests" and scenario.ports == 1 and scenario.logs is None
    return options.full or (is_plain and scenario.connections > 1 and not is_special)


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
    return [scenario for scenario in chosen if _can_run(scenario)]


def _can_run(scenario: Scenario) -> bool:
    """Return whether what a scenario needs is installed; say what is missing."""
    for name, what, is_needed in (
        ("cc", "a C compiler", upstream_name(scenario) == "stream"),
        ("h2load", "h2load", scenario.is_http2 and scenario.kind in UNITS),
        ("openssl", "openssl", scenario.is_tls),
    ):
        if is_needed and find_program(name) is None:
            log(f"left out {scenario.name}: its load needs {what}")
            return False
    return True
