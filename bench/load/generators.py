"""Runs wrk or stream.c once, and returns the counts."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bench.load.processes import BenchError, Cores, Process, pinned
from bench.load.programs import PROXIES, program, stream
from bench.load.scenarios import Scenario

Counts = dict[str, float]

FIELD = "X-Cmux-Port-Internal"
_SCRIPT = Path(__file__).with_name("wrk.lua")
_FAILURES = ("failed_connects", "failed_reads", "failed_writes", "timeouts", "bad_statuses")
_MORE_SECONDS = 60  # time for a generator to end, after the seconds of load


@dataclass(frozen=True)
class Load:
    """The load of a proxy: the scenario, the upstream, the seconds and the cores."""

    scenario: Scenario
    upstream: int
    seconds: int
    cores: Cores
    directory: Path


def generate(load: Load, proxy: Process) -> Counts:
    """Load the proxy once; return `count`, `microseconds` and, for some loads, `p50` and `p99`.

    Raises BenchError if a request, message or connection failed.
    """
    command = _wrk(load, proxy) if load.scenario.kind == "requests" else _stream(load, proxy)
    with pinned(load.cores.load):
        counts = _run(command, load.seconds + _MORE_SECONDS)
    proxy.check()
    failures = {name: counts[name] for name in _FAILURES if counts.get(name)}
    if failures or not counts["count"]:
        raise BenchError(f"{failures or 'nothing'} of {counts['count']}")
    return counts


def _wrk(load: Load, proxy: Process) -> list[str]:
    scenario = load.scenario
    command = [program("wrk"), "--threads", "1", "--connections", str(scenario.connections)]
    command += ["--duration", f"{load.seconds}s", "--script", str(_SCRIPT)]
    for name, value in {FIELD: str(load.upstream), **scenario.fields}.items():
        command += ["--header", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{proxy.port}{scenario.path}"]
    return command + (["--", scenario.unique] if scenario.unique else [])


def _stream(load: Load, proxy: Process) -> list[str]:
    scenario = load.scenario
    has_fixed_upstream = scenario.is_tunnel and not PROXIES[proxy.name].knows_connect
    ports = [str(proxy.port), "0" if has_fixed_upstream else str(load.upstream)]
    path = str(stream(load.directory))
    if scenario.kind == "transfer":
        return [path, scenario.mode, *ports, str(scenario.bytes)]
    return [path, scenario.kind, *ports, str(scenario.connections), str(load.seconds)]


def _run(command: Sequence[str], timeout: int) -> Counts:
    """Return the JSON in the last line of the command's output."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False
        )
        return cast(Counts, json.loads(result.stdout.strip().rpartition("\n")[2]))
    except subprocess.TimeoutExpired:
        raise BenchError(f"did not end within {timeout} s") from None
    except ValueError:
        name = Path(command[0]).name
        raise BenchError(f"{name} has failed: {result.stderr.strip() or result.stdout}") from None
