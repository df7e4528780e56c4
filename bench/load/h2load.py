"""The command of h2load, and what it prints.

Requests last some seconds; a transfer is one request, whose body is a file without blocks or comes
from stream.c. h2load offers windows of a gigabyte.
"""

import re
from pathlib import Path

from bench.load.loads import FIELD, Counts, Load
from bench.load.programs import program
from bench.load.scenarios import Scenario

_REQUESTS = re.compile(r"requests: .* (\d+) succeeded, (\d+) failed")
_DURATION = re.compile(r"finished in ([0-9.]+)(us|ms|s),")
_DATA = re.compile(r"traffic: .* headers .*\((\d+)\) data")
_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
_MEGABYTE = 1e6


def h2load_command(load: Load, port: int) -> list[str]:
    """Return the command of h2load for the requests or the transfer of a scenario to a port."""
    scenario = load.scenario
    command = [program("h2load"), "--threads", "1", "--clients", str(scenario.connections)]
    command += ["--max-concurrent-streams", str(scenario.streams)]
    command += _amount(load)
    for name, value in {FIELD: str(load.upstream), **scenario.fields}.items():
        command += ["--header", f"{name.lower()}: {value}"]
    path = "/" if scenario.mode == "upload" else scenario.path
    return [*command, f"{scenario.scheme}://127.0.0.1:{port}{path}"]


def _amount(load: Load) -> list[str]:
    scenario = load.scenario
    if scenario.kind == "requests":
        return ["--duration", str(load.seconds)]
    body = ["--data", str(_body(load.directory, scenario.bytes))]
    return ["--requests", "1", *(body if scenario.mode == "upload" else ())]


def _body(directory: Path, length: int) -> Path:
    """Return a file of that length, which takes no room on the disk."""
    path = directory / f"body-{length}"
    with path.open("ab") as file:
        file.truncate(length)
    return path


def h2load_counts(output: str, scenario: Scenario) -> Counts:
    """Return the counts in the output of h2load; of a transfer, its megabytes are the count.

    Raises ValueError if it is not that, or has fewer bytes than the responses should have.
    """
    requests, duration = _REQUESTS.search(output), _DURATION.search(output)
    data = _DATA.search(output)
    if not (requests and duration and data):
        raise ValueError("not the output of h2load")
    succeeded, failed = int(requests[1]), int(requests[2])
    due = 0 if scenario.mode == "upload" else succeeded * scenario.bytes
    if int(data[1]) < due:
        raise ValueError("bytes are missing")
    megabytes = scenario.bytes / _MEGABYTE if scenario.kind == "transfer" else 1
    return {
        "count": succeeded * megabytes,
        "microseconds": float(duration[1]) * _MICROSECONDS[duration[2]],
        "failed_requests": failed,
    }
