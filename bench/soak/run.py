"""Starts the proxy and all other programs, and reports the problems.

    make soak ARGS="--seconds 180 --workers 2"

Resident memory and descriptors are compared at two moments: after the warm-up, and at the end. At
both, traffic and aborts are over, all connections except the WebSockets are closed, and all timers
of the proxy have expired; so the proxy holds what the WebSockets need, and leaks. Finally, after
the WebSockets are closed too, the descriptors have to be those of the start.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.load.machine import builds, commit, machine, versions
from bench.load.processes import BenchError, Process, free_port
from bench.load.programs import OURS
from bench.load.results import save
from bench.load.rounds import log
from bench.load.run import raise_file_limit
from bench.soak.options import check, parse
from bench.soak.stages import Soak, finished
from bench.soak.verdict import Readings, judge, tolerance

_MIB: Final = 1 << 20
_ENDED_WITHIN: Final = 30.0
_CANNOT_RUN: Final = 2
# Makes glibc return large blocks when they are freed. Otherwise it keeps as many as there were at
# the busiest moment so far, which differs from minute to minute.
_ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> int:
    """Run, print and save; return 1 if there are problems, 2 if it cannot run."""
    options = parse()
    when = datetime.now(UTC)
    raise_file_limit()
    try:
        check(options)
    except BenchError as error:
        log(f"soak: {error}")
        return _CANNOT_RUN
    try:
        data = asyncio.run(soak(options))
    except (BenchError, OSError) as error:
        # The proxy has ended, or the WebSockets could not be opened.
        log(f"soak: {error}")
        return 1
    print(summary(data))
    if not options.no_save:
        print(f"saved in {save_results(options, data, when)}")
    if problems := data["problems"]:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        log(f"soak: {problems[0]!r}{more}")
    return int(bool(data["problems"]))


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run the soak; return its results."""
    port = free_port()
    command = [sys.executable, "-m", "cmux_proxy", "--listen", f"127.0.0.1:{port}"]
    command += ["--workers", str(options.workers), "--loop", options.loop, "--access-log", "off"]
    command += ["--no-native-io"] if options.no_native_io else []
    os.environ.update(_ALLOCATOR)
    with tempfile.TemporaryDirectory() as name:
        cores = frozenset(os.sched_getaffinity(0))
        with Process(OURS, command, port, cores, Path(name)) as proxy:
            run = Soak(options, proxy)
            readings = await run.run()
            program = proxy.start_line()
            status = proxy.end(_ENDED_WITHIN)
            lines = [line for line in proxy.printed() if not _is_expected(line)]
    problems = [*run.problems, *judge(readings, options.websockets, options.most_growth)]
    if status:
        problems.append(f"the proxy has ended with status {status}")
    if lines:
        problems.append(f"the proxy has printed {len(lines)} lines: {' | '.join(lines)[-2000:]}")
    return {
        "program": program,
        "problems": problems,
        "bytes_per_websocket": run.bytes_per_websocket,
        "readings": readings_data(readings),
        "most_growth": tolerance(readings.first, options.most_growth),
        "done": run.done,
        "samples": run.samples,
    }


def _is_expected(line: str) -> bool:
    return line.startswith(("listening on ", "cmux-proxy "))


def readings_data(readings: Readings) -> dict[str, Any]:
    """Return the readings as JSON data."""
    return {
        "start": readings.start.data(),
        "first": readings.first.data(),
        "last": readings.last.data(),
        "closed": readings.closed.data(),
    }


def summary(data: dict[str, Any]) -> str:
    """Return a summary in a few lines."""
    lines = [data["program"]]
    lines += [
        f"{name:7} {reading['resident'] / _MIB:8.1f} MiB resident   "
        + "  ".join(f"{kind} {count}" for kind, count in reading["descriptors"].items())
        for name, reading in data["readings"].items()
    ]
    if (size := data["bytes_per_websocket"]) is not None:
        lines.append(f"an idle WebSocket: {size:,} bytes")
    for name, done in data["done"].items():
        excused = sum(count for kind, count in done.items() if kind.startswith("excused"))
        reason = f", {excused} of them excused by {done['restarts']} restarts" if excused else ""
        lines.append(f"{name}: {finished(done):,}{reason}")
    return "\n".join(lines)


def save_results(options: argparse.Namespace, data: dict[str, Any], when: datetime) -> Path:
    """Save the result with the machine and the versions; return the path."""
    installed = versions()
    method = {name: value for name, value in vars(options).items() if name not in _NOT_METHOD}
    everything = {
        "date": when.isoformat(timespec="seconds"),
        "commit": commit(),
        "builds": {OURS: builds().get(OURS, "")},
        "machine": machine(),
        "versions": {name: installed.get(name, "") for name in ("python", "uvloop")},
        "method": {**method, "allocator": _ALLOCATOR},
        **data,
    }
    return save(options.output, everything)


_NOT_METHOD: Final = ("output", "no_save")
