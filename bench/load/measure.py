"""One wrk run -> one Sample; anything but success makes the run worthless."""

import http.client
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load.processes import BenchError, Cores, Process, pinned
from bench.load.programs import program
from bench.load.scenarios import Scenario

FIELD = "X-Cmux-Port-Internal"
_SCRIPT = Path(__file__).with_name("wrk.lua")
_BODY = b"hello, world\n"
_FAILURES = ("failed_connects", "failed_reads", "failed_writes", "timeouts", "bad_statuses")


@dataclass(frozen=True)
class Sample:
    """What one proxy did in one run; CPU time is the proxy's, per request."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    user_us: float
    system_us: float

    @property
    def cpu_us(self) -> float:
        """User and system time together."""
        return self.user_us + self.system_us


def probe(proxy: Process, upstream: Process, scenario: Scenario) -> None:
    """Raise BenchError unless the proxy gets this request to the upstream and back."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    try:
        fields = {**scenario.fields, FIELD: str(upstream.port)}
        connection.request("GET", "/", headers=fields)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{proxy.name} does not answer: {error}") from None
    finally:
        connection.close()
    if (response.status, body) != (200, _BODY):
        raise BenchError(f"{proxy.name} answers {response.status} {body!r} where 200 was due")


def run_wrk(
    proxy: Process, upstream: Process, scenario: Scenario, seconds: int, cores: Cores
) -> Sample:
    """Load the proxy for a while; raise BenchError if one request or connection failed."""
    before = proxy.cpu_time()
    with pinned(cores.load):
        counts = _wrk(proxy.port, upstream.port, scenario, seconds)
    proxy.check()
    used = proxy.cpu_time().since(before)
    failures = {name: counts[name] for name in _FAILURES if counts[name]}
    if failures or not counts["requests"]:
        raise BenchError(f"{proxy.name}: {failures or 'no request'} of {counts['requests']}")
    return Sample(
        requests=counts["requests"],
        requests_per_second=counts["requests"] / counts["microseconds"] * 1e6,
        p50_ms=counts["p50"] / 1000,
        p99_ms=counts["p99"] / 1000,
        user_us=used.user / counts["requests"] * 1e6,
        system_us=used.system / counts["requests"] * 1e6,
    )


def _wrk(port: int, upstream_port: int, scenario: Scenario, seconds: int) -> Any:
    """Return what wrk has counted."""
    command = [program("wrk"), "--threads", "1", "--connections", str(scenario.connections)]
    command += ["--duration", f"{seconds}s", "--script", str(_SCRIPT)]
    for name, value in {FIELD: str(upstream_port), **scenario.fields}.items():
        command += ["--header", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{port}/"]
    if scenario.unique:
        command += ["--", scenario.unique]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    try:
        return json.loads(result.stdout.strip().rpartition("\n")[2])
    except ValueError:
        raise BenchError(f"wrk has failed: {result.stderr or result.stdout}") from None
