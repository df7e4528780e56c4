"""Restarts under load: counts requests that fail while a new proxy replaces the old one.

    make bench-restart ARGS="--requests 100000"

A listening socket is kept here, as systemd does for a socket unit, and passed to one proxy after
the other. wrk sends requests all the time, over kept connections and over new ones. Failed are
connections that are refused, reset or closed before their response, and responses other than 200.
For comparison, some proxies bind the address themselves; there, requests have to fail.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.load.launch import start_upstream
from bench.load.loads import FIELD
from bench.load.machine import builds, commit, machine, versions
from bench.load.processes import BenchError, Cores
from bench.load.programs import OURS, program
from bench.load.results import save
from bench.load.rounds import log
from bench.load.run import raise_file_limit
from bench.load.scenarios import load_scenarios

RESULTS: Final = Path(__file__).parent / "results" / "restarts"
METHODS: Final = ("take turns", "stop, then start", "bind again")
_LOADS: Final = {"kept": [], "new": ["--header", "Connection: close"]}
_SCRIPT: Final = Path(__file__).parent / "load" / "wrk.lua"
_FAILURES: Final = ("failed_connects", "failed_reads", "failed_writes", "timeouts", "bad_statuses")
_BACKLOG: Final = 2048
_TIMEOUT: Final = 30.0
_HEADING: Final = (
    "way               workers restarts connections   requests failed  p99 ms  longest ms"
)


@dataclass(frozen=True)
class Case:
    """How a proxy is replaced, and how many workers each proxy has."""

    way: str
    workers: int

    @property
    def may_fail(self) -> bool:
        """Whether failed requests are expected."""
        return self.way == "bind again"


class Proxies:
    """Proxies at the same address, one after the other."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port: int = self._sock.getsockname()[1]
        self._listen = f"fd://{self._sock.fileno()}"
        if case.way == "bind again":
            self._sock.close()
            self._listen = f"127.0.0.1:{self.port}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.settimeout(_TIMEOUT)
        self._log = (folder / "proxies.log").open("wb")
        self._child = self._start()

    def restart(self) -> None:
        """Replace the proxy by a new one."""
        old = self._child
        if self._case.way == "take turns":
            self._child = self._start()
            _end(old)
        else:
            _end(old)
            self._child = self._start()

    def close(self) -> None:
        """Stop the last proxy."""
        _end(self._child)
        self._sock.close()
        self._notify.close()
        self._log.close()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a proxy, and wait until it reports that it is ready."""
        command = [sys.executable, "-m", "cmux_proxy", "--listen", self._listen]
        child = subprocess.Popen(
            [*command, "--workers", str(self._case.workers)],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**os.environ, "NOTIFY_SOCKET": self._notify.getsockname()},
            pass_fds=[] if self._case.way == "bind again" else [self._sock.fileno()],
        )  # fmt: skip
        try:
            while not self._notify.recv(4096).startswith(b"READY=1"):
                pass
        except TimeoutError:
            child.kill()
            raise BenchError("a proxy does not start") from None
        return child


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    status = child.wait(_TIMEOUT)
    if status:
        raise BenchError(f"a proxy has ended with status {status}")


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Restart under load until each load has sent the required number of requests."""
    # If requests are expected to fail, one run is enough.
    requests = 1 if case.may_fail else options.requests
    totals: dict[str, dict[str, float]] = {name: {} for name in _LOADS}
    restarts = 0
    with _programs(case) as (proxies, upstream):
        while any(total.get("count", 0) < requests for total in totals.values()):
            children = {
                name: _wrk(proxies.port, upstream, options, more) for name, more in _LOADS.items()
            }
            while all(child.poll() is None for child in children.values()):
                proxies.restart()
                restarts += 1
                time.sleep(options.pause)
            for name, child in children.items():
                _add(totals[name], _counts(child))
    return {"way": case.way, "workers": case.workers, "restarts": restarts, "loads": totals}


@contextmanager
def _programs(case: Case) -> Iterator[tuple[Proxies, int]]:
    every = frozenset(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenario = load_scenarios()["get-small-c64"]
        upstream = stack.enter_context(start_upstream(scenario, Cores(every, every), folder))
        proxies = Proxies(case, folder)
        stack.callback(proxies.close)
        yield proxies, upstream.port


def _wrk(
    port: int, upstream: int, options: argparse.Namespace, more: Sequence[str]
) -> subprocess.Popen[str]:
    command = [program("wrk"), "--threads", "1", "--connections", str(options.connections)]
    command += ["--duration", f"{options.seconds}s", "--script", str(_SCRIPT)]
    command += ["--header", f"{FIELD}: {upstream}", *more, f"http://127.0.0.1:{port}/"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _counts(child: subprocess.Popen[str]) -> dict[str, float]:
    out, errors = child.communicate(timeout=_TIMEOUT)
    try:
        counts: dict[str, float] = json.loads(out.strip().rpartition("\n")[2])
    except ValueError:
        raise BenchError(f"wrk has failed: {errors.strip() or out}") from None
    return counts


def _add(total: dict[str, float], counts: dict[str, float]) -> None:
    """Add the counts of a run; latencies are the maximum of all runs."""
    for name, value in counts.items():
        is_latency = name in ("p50", "p99", "longest")
        before = total.get(name, 0)
        total[name] = max(before, value) if is_latency else before + value


def rows(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    return [
        f"{result['way']:17} {result['workers']:7} {result['restarts']:8} {name:11} "
        f"{total['count']:10,.0f} {failed(total):6,.0f} {total['p99'] / 1000:7.1f} "
        f"{total['longest'] / 1000:11.1f}"
        for name, total in result["loads"].items()
    ]


def failed(total: dict[str, float]) -> float:
    """Return how many requests had no response, or a wrong one."""
    return sum(total[name] for name in _FAILURES)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench-restart", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="at least, of each load")
    parser.add_argument("--seconds", type=int, default=10, help="for which wrk runs at a time")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two restarts")
    parser.add_argument("--connections", type=int, default=32, help="of each load")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--way", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--no-save", action="store_true", help="print the table and save nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; return 1 if a request failed unexpectedly."""
    options = parse(arguments)
    when = datetime.now(UTC)
    raise_file_limit()
    results = []
    print(_HEADING)
    try:
        for case in [Case(way, workers) for way in options.way for workers in options.workers]:
            results.append(measure(case, options))
            print(*rows(results[-1]), sep="\n", flush=True)
    except (BenchError, subprocess.TimeoutExpired) as error:
        log(f"bench-restart: {error}")
        return 2
    if not options.no_save:
        save_results(options, results, when)
    losses = [
        failed(total)
        for result in results
        if not Case(result["way"], result["workers"]).may_fail
        for total in result["loads"].values()
    ]
    return int(any(losses))


def save_results(
    options: argparse.Namespace, results: Sequence[dict[str, Any]], when: datetime
) -> None:
    """Save the results with the machine and the versions."""
    data = {
        "date": when.isoformat(timespec="seconds"),
        "commit": commit(),
        "builds": {OURS: builds().get(OURS, "")},
        "machine": machine(),
        "versions": {name: versions()[name] for name in ("python", "uvloop", "wrk")},
        "options": vars(options),
        "results": list(results),
    }
    log(f"saved in {save(RESULTS, data)}")


if __name__ == "__main__":
    sys.exit(main())
