"""Runs the generator of a scenario once, and returns the counts: wrk, h2load, openssl or stream.c.

`h2load` and `handshakes` know the options and the output of two of them.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from bench.load.compiler import compiled
from bench.load.h2load import h2load_command, h2load_counts
from bench.load.handshakes import handshakes_command, handshakes_counts
from bench.load.loads import FIELD, Counts, Load
from bench.load.processes import BenchError, Process, pinned
from bench.load.programs import PROXIES, program
from bench.load.scenarios import Scenario

_SCRIPT = Path(__file__).with_name("wrk.lua")
_FAILURES = (
    "failed_connects", "failed_reads", "failed_writes", "failed_requests", "timeouts",
    "bad_statuses",
)  # fmt: skip
_TIMEOUT = "10s"  # of a response; with thousands of connections some take longer than two
_MORE_SECONDS = 60  # time for a generator to end, after the seconds of load
_Parse = Callable[[str, Scenario], Counts]


def generate(load: Load, proxy: Process) -> Counts:
    """Load the proxy once; return `count`, `microseconds` and, for some loads, `p50` and `p99`.

    Raises BenchError if a request, message or connection failed.
    """
    command, parse = _generator(load, proxy)
    with pinned(load.cores.load):
        counts = _run(command, parse, load)
    proxy.check()
    failures = {name: counts[name] for name in _FAILURES if counts.get(name)}
    if failures or not counts["count"]:
        raise BenchError(f"{failures or 'nothing'} of {counts['count']}")
    return counts


def _generator(load: Load, proxy: Process) -> tuple[list[str], _Parse]:
    """Return the command of a scenario's generator, and what reads its output."""
    scenario = load.scenario
    if scenario.kind == "handshakes":
        return handshakes_command(load, proxy.port), handshakes_counts
    if scenario.is_http2:
        return h2load_command(load, proxy.port), h2load_counts
    if scenario.kind == "requests":
        return wrk_command(load, proxy.port), _json_counts
    return _stream_command(load, proxy), _json_counts


def wrk_command(load: Load, port: int) -> list[str]:
    """Return the command of wrk for the requests of a scenario to a port."""
    scenario = load.scenario
    command = [program("wrk"), "--threads", "1", "--connections", str(scenario.connections)]
    command += ["--duration", f"{load.seconds}s", "--timeout", _TIMEOUT, "--script", str(_SCRIPT)]
    for name, value in {FIELD: str(load.upstream), **scenario.fields}.items():
        command += ["--header", f"{name}: {value}"]
    command += [f"{scenario.scheme}://127.0.0.1:{port}{scenario.path}"]
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


def _json_counts(output: str, _scenario: Scenario) -> Counts:
    """Return the JSON in the last line of the output of wrk.lua or of stream.c."""
    return cast(Counts, json.loads(output.strip().rpartition("\n")[2]))


def _run(command: Sequence[str], parse: _Parse, load: Load) -> Counts:
    timeout = load.seconds + _MORE_SECONDS
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False
        )
        return parse(result.stdout, load.scenario)
    except subprocess.TimeoutExpired:
        raise BenchError(f"did not end within {timeout} s") from None
    except ValueError:
        name = Path(command[0]).name
        raise BenchError(f"{name} has failed: {result.stderr.strip() or result.stdout}") from None
