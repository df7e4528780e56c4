"""Measures the memory of idle connections, and the time and memory of a start.

Every idle connection was used once: a client connection for a request, a tunnel for a message and
its echo.
"""

from contextlib import ExitStack

from bench.load.generators import Load
from bench.load.measure import Sample
from bench.load.probe import await_readiness, connect, use
from bench.load.processes import BenchError, Process

_FIRST = 10  # connections that cause all one-time allocations


def measure_start(proxy: Process) -> Sample:
    """Return the time of a proxy's start, and its memory."""
    return {"listening_ms": proxy.listening_after * 1000, "rss_mb": proxy.rss_mb()}


def measure_idle(load: Load, proxy: Process) -> Sample:
    """Return the growth of memory per connection of the scenario, in a new proxy."""
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
    return {"kb_each": (rss - before) * 1000 / count, "rss_mb": rss}


def _open(load: Load, proxy: Process, stack: ExitStack, count: int) -> None:
    for _ in range(count):
        sock = stack.enter_context(connect(proxy))
        use(sock, load, proxy)
