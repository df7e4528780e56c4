"""The command line, and whether the machine allows it."""

import argparse
import resource
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.load.processes import BenchError

RESULTS: Final = Path(__file__).parents[1] / "results" / "soak"
# The share of the proxy's descriptors that clients may use (`server/connection_limits.py`).
_SHARE_OF_CLIENTS: Final = 0.4
# Workers with own sockets get random shares of the connections, which never differ as much as this.
_UNEVEN: Final = 1.15
# Current aborts, and probes.
_OTHERS: Final = 600
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="soak", description=__doc__ and "Many idle WebSockets, aborts and mixed traffic."
    )
    number = parser.add_argument
    number("--seconds", type=float, default=1200, help="seconds of traffic (default 1200)")
    number("--warm-up", type=float, default=60, help="seconds of it before the first reading (60)")
    number("--websockets", type=int, default=10_000, help="idle WebSockets (default 10000)")
    number("--aborts", type=int, default=500, help="aborts a second (default 500)")
    number("--clients", type=int, default=64, help="clients with mixed traffic (default 64)")
    number("--workers", type=int, default=1, help="workers of the proxy (default 1)")
    number(
        "--loop",
        choices=("auto", "native", "uvloop", "asyncio"),
        default="auto",
        help="event loop of the proxy (default auto)",
    )
    number(
        "--no-native-io", action="store_true", help="connections of the loop, not native ones in it"
    )
    number("--seed", default="cmux", help="selects another mixture")
    number("--every", type=float, default=5, help="seconds between two samples (default 5)")
    number(
        "--in-turns",
        action="store_true",
        help="traffic first and aborts afterwards, instead of both at once",
    )
    number(
        "--most-growth",
        type=float,
        metavar="MIB",
        help="of resident memory (default: 2 MiB, or 5 %% if that is more)",
    )
    number("--output", type=Path, default=RESULTS, help="directory for the JSON")
    number("--no-save", action="store_true", help="print the result and save nothing")
    options = parser.parse_args(arguments)
    if not 0 < options.warm_up < options.seconds or options.every <= 0 or options.workers < 1:
        parser.error("needs 0 < --warm-up < --seconds, 0 < --every and 1 <= --workers")
    if min(options.websockets, options.aborts, options.clients) < 0:
        parser.error("--websockets, --aborts and --clients need at least 0")
    return options


def check(options: argparse.Namespace) -> None:
    """Raise BenchError, with the remedy, if this machine does not allow the options."""
    if not sys.platform.startswith("linux"):
        raise BenchError("needs Linux, because memory and descriptors are read from /proc")
    uneven = _UNEVEN if options.workers > 1 else 1
    per_worker = options.websockets * uneven / options.workers + options.clients
    needed = int((per_worker + (_OTHERS if options.aborts else 0)) / _SHARE_OF_CLIENTS) + 1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < needed:
        raise BenchError(
            f"{options.websockets} WebSockets and {options.workers} workers need {needed} "
            f"descriptors per process, and the limit is {limit}: raise it (ulimit -Hn), "
            "or give --workers more or --websockets less"
        )


class FixedPorts:
    """Free ports that no other program and no connection gets until they are closed.

    Services may listen on them one after the other, as services that restart do; in between,
    connections are refused.
    """

    def __init__(self, count: int) -> None:
        self._held: list[socket.socket] = []
        # Below the range of ports that the system uses for connections.
        for port in range(int(_RANGE.read_text().split()[0]) - 1, 1024, -1):
            if len(self._held) == count:
                break
            self._hold(port)
        self.numbers: list[int] = [sock.getsockname()[1] for sock in self._held]

    def _hold(self, port: int) -> None:
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            sock.close()
            return
        # Set after the bind, because otherwise two programs could hold the same port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.append(sock)

    def close(self) -> None:
        """Release all ports."""
        for sock in self._held:
            sock.close()
