"""Measures several workers, and how evenly they share: with own sockets, or a shared one.

    make bench-workers ARGS="--rounds 3 --seconds 2"

Proxy, load and upstream share their cores, so the load competes with the workers. The figure to
compare is the CPU time of a request, summed over all workers. Of the rates, compare one worker with
all programs on one core, and two workers on two cores: the load has twice the cores then, too.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.load.generators import generate
from bench.load.launch import start_upstream
from bench.load.loads import Load
from bench.load.machine import builds, commit, machine, versions
from bench.load.probe import await_readiness, connect
from bench.load.processes import BenchError, Cores, Process, free_port
from bench.load.programs import OURS
from bench.load.results import save
from bench.load.rounds import log
from bench.load.run import raise_file_limit
from bench.load.scenarios import Scenario, load_scenarios

RESULTS = Path(__file__).parents[1] / "results" / "workers"
_MODULES = {"own": "cmux_proxy", "one for all": "bench.load.inherited"}
_MODES = {"keep-alive": "get-small-c64", "new": "get-small-close-c64"}
_NANOSECOND = 1e-9
_WARM_UP_SECONDS = 1
_SETTLED_AFTER = 10.0
_PAUSE = 0.2
_HEADING = (
    "mode       connections cores workers sockets         req/s    CPU us   "
    "CPU time: least, most; connections: least, most"
)


@dataclass(frozen=True)
class Case:
    """The cores, the workers, their sockets, and the load."""

    cores: int
    workers: int
    sockets: str
    connections: int
    mode: str

    def scenario(self) -> Scenario:
        """Return the scenario of the load."""
        return replace(load_scenarios()[_MODES[self.mode]], connections=self.connections)


def cases() -> list[Case]:
    """Return all cases to measure."""
    every = len(os.sched_getaffinity(0))
    setups = [(1, 1, "own"), (every, 1, "own")]
    setups += [(every, count, sockets) for count in (2, 4) for sockets in _MODULES]
    return [
        Case(*setup, connections, mode)
        for mode in _MODES
        for connections in (64, 1000)
        for setup in setups
    ]


def _measure_again(case: Case, seconds: int) -> dict[str, Any]:
    """Measure, and repeat once if a request failed, because it may time out on a busy machine."""
    try:
        return measure(case, seconds)
    except BenchError as error:
        log(f"repeated {case}: {error}")
        return measure(case, seconds)


def measure(case: Case, seconds: int) -> dict[str, Any]:
    """Load a new proxy once, after a warm-up."""
    allowed = frozenset(sorted(os.sched_getaffinity(0))[: case.cores])
    cores = Cores(allowed, allowed)
    with tempfile.TemporaryDirectory() as name, _programs(case, cores, Path(name)) as started:
        upstream, proxy = started
        load = Load(case.scenario(), upstream.port, seconds, cores, Path(name))
        workers = _workers(proxy)
        # First, because no worker has connections to the upstream that could end meanwhile.
        connections = _spread(workers, proxy, case.connections)
        await_readiness(load, proxy)
        generate(replace(load, seconds=_WARM_UP_SECONDS), proxy)
        before = [_cpu_seconds(pid) for pid in workers]
        counts = generate(load, proxy)
        used = [_cpu_seconds(pid) - was for pid, was in zip(workers, before, strict=True)]
    return {
        "per_second": counts["count"] / counts["microseconds"] * 1e6,
        "cpu_us": sum(used) / counts["count"] * 1e6,
        "cpu_shares": [share / sum(used) for share in used],
        "connection_shares": [share / sum(connections) for share in connections],
    }


@contextmanager
def _programs(case: Case, cores: Cores, directory: Path) -> Iterator[tuple[Process, Process]]:
    port = free_port()
    command = [sys.executable, "-m", _MODULES[case.sockets], "--listen", f"127.0.0.1:{port}"]
    command += ["--workers", str(case.workers)]
    with (
        start_upstream(case.scenario(), cores, directory) as upstream,
        Process(OURS, command, port, cores.proxy, directory) as proxy,
    ):
        yield upstream, proxy


def _workers(proxy: Process) -> list[int]:
    """Return the process ids of the workers when all of them accept and are idle."""
    deadline = time.monotonic() + _SETTLED_AFTER
    while "cmux-proxy" not in proxy.last_lines():
        proxy.check()
        if time.monotonic() > deadline:
            raise BenchError("does not accept")
        time.sleep(_PAUSE)
    # The connection that checked whether the proxy listens is closed by then.
    time.sleep(_PAUSE)
    return _children(proxy.pid) or [proxy.pid]


def _spread(workers: Sequence[int], proxy: Process, count: int) -> list[int]:
    """Connect `count` clients at once; return how many of them each worker has accepted."""
    before = [_sockets(pid) for pid in workers]
    deadline = time.monotonic() + _SETTLED_AFTER
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(connect(proxy))
        while time.monotonic() < deadline:
            accepted = [_sockets(pid) - was for pid, was in zip(workers, before, strict=True)]
            if sum(accepted) == count:
                return accepted
    raise BenchError(f"{count} connections, and the workers have {accepted}")


def _sockets(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(entry).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * _NANOSECOND


def summary(case: Case, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of a case; shares are those of the least and the most busy worker."""

    def median(figure: str, of: Any = None) -> float:
        values = [sample[figure] if of is None else of(sample[figure]) for sample in samples]
        return round(float(statistics.median(values)), 3)

    medians = {
        "per_second": median("per_second"),
        "cpu_us": median("cpu_us"),
        "cpu_least": median("cpu_shares", min),
        "cpu_most": median("cpu_shares", max),
        "connections_least": median("connection_shares", min),
        "connections_most": median("connection_shares", max),
    }
    return {"case": asdict(case), "medians": medians, "samples": list(samples)}


def row(result: dict[str, Any]) -> str:
    """Return a line of the table."""
    case, medians = result["case"], result["medians"]
    ends = ("cpu_least", "cpu_most", "connections_least", "connections_most")
    shares = [f"{medians[end]:6.0%}" for end in ends]
    return (
        f"{case['mode']:10} {case['connections']:11} {case['cores']:5} {case['workers']:7} "
        f"{case['sockets']:11} "
        f"{medians['per_second']:9,.0f} {medians['cpu_us']:9.1f}   {'  '.join(shares)}"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench-workers", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds per run (default 2)")
    parser.add_argument("--no-save", action="store_true", help="print the table and save nothing")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, print and save; return 2 if that is impossible."""
    options = parse()
    when = datetime.now(UTC)
    samples: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases()}
    raise_file_limit()
    try:
        for _ in range(options.rounds):
            for case, case_samples in samples.items():
                case_samples.append(_measure_again(case, options.seconds))
    except BenchError as error:
        log(f"bench-workers: {error}")
        return 2
    results = [summary(case, case_samples) for case, case_samples in samples.items()]
    print(_HEADING, *map(row, results), sep="\n")
    if not options.no_save:
        save_results(options, results, when)
    return 0


def save_results(
    options: argparse.Namespace, results: Sequence[dict[str, Any]], when: datetime
) -> None:
    """Save the results with the machine and the versions."""
    installed = versions()
    data = {
        "date": when.isoformat(timespec="seconds"),
        "commit": commit(),
        "builds": {OURS: builds().get(OURS, "")},
        "machine": machine(),
        "versions": {
            name: installed.get(name, "") for name in ("python", "uvloop", "wrk", "nginx")
        },
        "method": {
            "generator": "wrk, one thread", "upstream": "nginx",
            "rounds": options.rounds, "seconds": options.seconds,
            "warm_up_seconds": _WARM_UP_SECONDS,
        },
        "cases": results,
    }  # fmt: skip
    print(f"\nsaved in {save(RESULTS, data)}")


if __name__ == "__main__":
    sys.exit(main())
