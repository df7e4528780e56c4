"""What a proxy needs while it does nothing: memory of idle connections, memory and time of a start.

Every connection has been used once, as idle connections have: a client for a request, a tunnel for
a message and its echo.
"""

from contextlib import ExitStack

from bench.load.generators import Load
from bench.load.measure import Sample
from bench.load.probe import await_readiness, connect, use
from bench.load.processes import BenchError, Process

_FIRST = 10  # connections for what is loaded or allocated once


def measure_start(proxy: Process) -> Sample:
    """Return how long a started proxy took, and what it needs."""
    return {"listening_ms": proxy.listening_after * 1000, "rss_mb": proxy.rss_mb()}


def measure_idle(load: Load, proxy: Process) -> Sample:
    """Return the growth of a fresh proxy for each of the scenario's connections."""
    await_readiness(load, proxy)
    count = load.scenario.connections
    with ExitStack() as stack:
        try:
            _open(load, proxy, stack, _FIRST)
            before = proxy.rss_mb()
            _open(load, proxy, stack, count)
        except OSError as error:
            raise BenchError(f"an idle connection: {error}") from None
        proxy.check()
        rss = proxy.rss_mb()
    return {"bytes_each": (rss - before) * 1e6 / count, "rss_mb": rss}


def _open(load: Load, proxy: Process, stack: ExitStack, count: int) -> None:
    for _ in range(count):
        sock = stack.enter_context(connect(proxy))
        use(sock, load, proxy)
