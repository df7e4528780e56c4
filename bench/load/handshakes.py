"""The command of `openssl s_time`, and what it prints.

It opens one connection after the other, each with a whole handshake: it offers no session, so that
nobody resumes one. wrk resumes them in all of its connections after the first.
"""

import re

from bench.load.certificate import certificate
from bench.load.loads import Counts, Load
from bench.load.programs import program
from bench.load.scenarios import Scenario

_COUNT = re.compile(r"^(\d+) connections in (\d+) real seconds", re.MULTILINE)


def handshakes_command(load: Load, port: int) -> list[str]:
    """Return the command that opens connections to a port, and sends nothing over them."""
    return [
        program("openssl"), "s_time", "-new", "-connect", f"127.0.0.1:{port}",
        "-time", str(load.seconds), "-CAfile", str(certificate(load.directory)),
    ]  # fmt: skip


def handshakes_counts(output: str, _scenario: Scenario) -> Counts:
    """Return the number of connections; the seconds are whole ones, and so the rate is rough."""
    found = _COUNT.search(output)
    if not found:
        raise ValueError("not the output of openssl s_time")
    return {"count": int(found[1]), "microseconds": max(1, int(found[2])) * 1e6}
