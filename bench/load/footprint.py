"""Measures the memory of idle connections, and the time and memory of a start.

Every idle connection was used once: a client connection for a request, a tunnel for a message and
its echo.
"""

from contextlib import ExitStack

from bench.load.loads import Load
from bench.load.measure import Sample
from bench.load.probe import await_readiness, open_client, use
from bench.load.processes import BenchError, Process

FIRST = 10  # connections that cause all one-time allocations


def measure_start(proxy: Process) -> Sample:
    """Return the time of a proxy's start, and its memory."""
    return {"listening_ms": proxy.listening_after * 1000, "rss_mb": proxy.rss_mb()}


def measure_idle(load: Load, proxy: Process) -> Sample:
    """Return the growth of memory per connection of the scenario, in a new proxy."""
    await_readiness(load, proxy)
    count = load.scenario.connections
    with ExitStack() as stack:
        try:
            open_connections(load, proxy, stack, FIRST)
            before = proxy.rss_mb()
            open_connections(load, proxy, stack, count)
        except OSError as error:
            raise BenchError(f"an idle connection: {error}") from None
        proxy.check()
        rss = proxy.rss_mb()
    return {"kb_each": (rss - before) * 1000 / count, "rss_mb": rss}


def open_connections(load: Load, proxy: Process, stack: ExitStack, count: int) -> None:
    """Open so many connections and use each once; they stay open as long as the stack."""
    for _ in range(count):
        sock = stack.enter_context(open_client(load, proxy))
        use(sock, load, proxy)
