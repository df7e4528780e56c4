"""Runs wrk or stream.c once, and returns the counts."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bench.load.compiler import compiled
from bench.load.processes import BenchError, Cores, Process, pinned
from bench.load.programs import PROXIES, program
from bench.load.scenarios import Scenario

Counts = dict[str, float]

FIELD = "X-Cmux-Port-Internal"
_SCRIPT = Path(__file__).with_name("wrk.lua")
_FAILURES = ("failed_connects", "failed_reads", "failed_writes", "timeouts", "bad_statuses")
_TIMEOUT = "10s"  # of a response; with thousands of connections some take longer than two
_MORE_SECONDS = 60  # time for a generator to end, after the seconds of load


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


def generate(load: Load, proxy: Process) -> Counts:
    """Load the proxy once; return `count`, `microseconds` and, for some loads, `p50` and `p99`.

    Raises BenchError if a request, message or connection failed.
    """
    is_wrk = load.scenario.kind == "requests"
    command = wrk_command(load, proxy.port) if is_wrk else _stream_command(load, proxy)
    with pinned(load.cores.load):
        counts = _run(command, load.seconds + _MORE_SECONDS)
    proxy.check()
    failures = {name: counts[name] for name in _FAILURES if counts.get(name)}
    if failures or not counts["count"]:
        raise BenchError(f"{failures or 'nothing'} of {counts['count']}")
    return counts


def wrk_command(load: Load, port: int) -> list[str]:
    """Return the command of wrk for the requests of a scenario to a port."""
    scenario = load.scenario
    command = [program("wrk"), "--threads", "1", "--connections", str(scenario.connections)]
    command += ["--duration", f"{load.seconds}s", "--timeout", _TIMEOUT, "--script", str(_SCRIPT)]
    for name, value in {FIELD: str(load.upstream), **scenario.fields}.items():
        command += ["--header", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{port}{scenario.path}"]
    return command + _script_arguments(load)


def _script_arguments(load: Load) -> list[str]:
    if load.scenario.unique:
        return ["--", "unique", load.scenario.unique]
    if load.more_ports:
        ports = (load.upstream, *load.more_ports)
        return ["--", "ports", FIELD, ",".join(map(str, ports))]
    return []


def _stream_command(load: Load, proxy: Process) -> list[str]:
    scenario = load.scenario
    has_fixed_upstream = scenario.is_tunnel and not PROXIES[proxy.name].knows_connect
    ports = [str(proxy.port), "0" if has_fixed_upstream else str(load.upstream)]
    path = str(compiled("stream", load.directory))
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
