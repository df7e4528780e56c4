"""The cases of Http11Probe put to every proxy there is, in front of a lax upstream.

    python -m bench.probe [proxy ...]

Prints which cases each fails, as the public corpus scores them. A proxy is asked as a client
would: step by step, each answer waited for.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.load.processes import Cores, Process, free_port
from bench.load.programs import PROXIES, Place, program
from tests.helpers.lenient import FramingPreference, lenient
from tests.helpers.origins import origin
from tests.helpers.wire import Wire
from tests.smuggling.probe import CheckResult, Probe
from tests.smuggling.probe_framing import FRAMING
from tests.smuggling.probe_syntax import SYNTAX

# Who says nothing for so long, in seconds, has no more to say; a first answer may take longer.
_QUIET: Final = 0.5
_PATIENCE: Final = 3.0
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_RIVALS: Final = ("cmux-proxy", "nginx", "haproxy", "caddy")


async def outcome(case: Probe, port: int, upstream: int) -> tuple[list[int], bool]:
    """Return the statuses that a case gets, and whether the proxy has closed the connection."""
    route = b"X-Cmux-Port-Internal: %d\r\n" % upstream
    got, is_closed = b"", False
    with await Wire.to("127.0.0.1", port) as wire:
        for step in case.sent(b"localhost", route):
            if not is_closed:
                data, is_closed = await _ask(wire, step, _QUIET if case.may_wait else _PATIENCE)
                got += data
    return [int(status) for status in _STATUS_LINE.findall(got)], is_closed


async def _ask(wire: Wire, step: bytes, patience: float) -> tuple[bytes, bool]:
    got = b""
    try:
        async with asyncio.timeout(5):
            await wire.send(step)
        while True:
            async with asyncio.timeout(_QUIET if got else patience):
                data = await wire.receive()
            if not data:
                return got, True
            got += data
    except TimeoutError:
        return got, False
    except OSError:
        return got + wire.take_arrived(), True


async def verdicts(name: str) -> dict[str, tuple[CheckResult, list[int], bool]]:
    """Return what became of every case, by its name."""
    found = {}
    cores = Cores.available()
    with tempfile.TemporaryDirectory() as folder:
        for case in [*FRAMING, *SYNTAX]:
            async with origin(lenient(FramingPreference())) as upstream:
                place = Place(free_port(), upstream.port, Path(folder))
                command = PROXIES[name].requests(program(name), place)
                with Process(name, command, place.port, cores.proxy, place.directory):
                    statuses, is_closed = await outcome(case, place.port, upstream.port)
            verdict = case.verdict(statuses, is_closed)
            if case.content is not None and statuses[:1] == [200]:
                asked = upstream.asked
                if not asked or asked[0].body != case.content:
                    verdict = CheckResult.FAIL
            found[case.name] = (verdict, statuses, is_closed)
    return found


def main() -> None:
    """Print the failures of each proxy, and the counts."""
    for name in sys.argv[1:] or _RIVALS:
        found = asyncio.run(verdicts(name))
        counts = dict.fromkeys(CheckResult, 0)
        for case, (verdict, statuses, is_closed) in found.items():
            counts[verdict] += 1
            if verdict is CheckResult.FAIL:
                print(f"  {case}: {statuses or 'nothing'}{', closed' if is_closed else ''}")
        told = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())
        print(f"{name}: {told}", flush=True)


if __name__ == "__main__":
    main()
