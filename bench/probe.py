"""Sends the cases of Http11Probe to several proxies, in front of a lax upstream.

    python -m bench.probe [proxy ...]

Prints the cases that each proxy fails, by the scores of the public corpus. The steps of a case are
sent one after the other, each after the response to the step before.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.load.commands import ProxySetup
from bench.load.processes import Cores, Process, free_port
from bench.load.programs import PROXIES, program
from tests.helpers.lenient import FramingPreference, lenient
from tests.helpers.origins import origin
from tests.helpers.wire import Wire
from tests.smuggling.probe import CheckResult, Probe
from tests.smuggling.probe_framing import FRAMING
from tests.smuggling.probe_syntax import SYNTAX

# How long to wait for more bytes, and for the first bytes of a response, in seconds.
_QUIET: Final = 0.5
_TIMEOUT: Final = 3.0
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_RIVALS: Final = ("cmux-proxy", "nginx", "haproxy", "caddy")


async def outcome(case: Probe, port: int, upstream: int) -> tuple[list[int], bool]:
    """Return the statuses of the responses, and whether the proxy closed the connection."""
    route = b"X-Cmux-Port-Internal: %d\r\n" % upstream
    received, is_closed = b"", False
    with await Wire.to("127.0.0.1", port) as wire:
        for step in case.sent(b"localhost", route):
            if not is_closed:
                data, is_closed = await _send(wire, step, _QUIET if case.may_wait else _TIMEOUT)
                received += data
    return [int(status) for status in _STATUS_LINE.findall(received)], is_closed


async def _send(wire: Wire, step: bytes, timeout: float) -> tuple[bytes, bool]:
    received = b""
    try:
        async with asyncio.timeout(5):
            await wire.send(step)
        while True:
            async with asyncio.timeout(_QUIET if received else timeout):
                data = await wire.receive()
            if not data:
                return received, True
            received += data
    except TimeoutError:
        return received, False
    except OSError:
        return received + wire.take_arrived(), True


async def check_results(name: str) -> dict[str, tuple[CheckResult, list[int], bool]]:
    """Return the result of each case by its name."""
    results = {}
    cores = Cores.available()
    with tempfile.TemporaryDirectory() as folder:
        for case in [*FRAMING, *SYNTAX]:
            async with origin(lenient(FramingPreference())) as upstream:
                setup = ProxySetup(free_port(), upstream.port, Path(folder))
                command = PROXIES[name].requests(program(name), setup)
                with Process(name, command, setup.port, cores.proxy, setup.directory):
                    statuses, is_closed = await outcome(case, setup.port, upstream.port)
            verdict = case.verdict(statuses, is_closed)
            if case.content is not None and statuses[:1] == [200]:
                requests = upstream.requests
                if not requests or requests[0].body != case.content:
                    verdict = CheckResult.FAIL
            results[case.name] = (verdict, statuses, is_closed)
    return results


def main() -> None:
    """Print the failures of each proxy, and the counts."""
    for name in sys.argv[1:] or _RIVALS:
        results = asyncio.run(check_results(name))
        counts = dict.fromkeys(CheckResult, 0)
        for case, (verdict, statuses, is_closed) in results.items():
            counts[verdict] += 1
            if verdict is CheckResult.FAIL:
                print(f"  {case}: {statuses or 'no response'}{', closed' if is_closed else ''}")
        summary = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())
        print(f"{name}: {summary}", flush=True)


if __name__ == "__main__":
    main()
