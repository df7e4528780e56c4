"""One run of one proxy -> a Sample: its figures by name.

per_second            requests, MB or round trips in a second
cpu_us                CPU time of the proxy for each of these, in microseconds
user_us, system_us    its parts in user space and in the kernel
p50_ms, p99_ms        latency; transfers have none
message_us            CPU time of the proxy for each of the two messages of a round trip
sleeps                how often the proxy waited for an event or a lock, for each of these
logged                the share of requests that are in its log, if it logs all of them
core                  the share of its core that the proxy used
waited                the share of time that it was runnable and another process ran
rss_mb                resident memory, in megabytes
kb_each               resident memory for each idle connection, in kilobytes
cpu_ms                CPU time of the proxy for an attack, in milliseconds
growth_mb             resident memory at the peak of an attack, less that before, in megabytes
taken                 the share of an attack's requests that the proxy took before it ended it
listening_ms          from exec to the first accepted connection
"""

from collections.abc import Mapping

from bench.load.generators import generate
from bench.load.loads import Load
from bench.load.logs import AccessLog
from bench.load.processes import Process

Sample = Mapping[str, float]


_DISTURBED = 0.5
_TRIES = 3


def measure(load: Load, proxy: Process) -> Sample:
    """Load the proxy; repeat if other processes used its core, and return the best run.

    On the same core the load uses it, so that no run is repeated.
    """
    best = _measure_once(load, proxy)
    for _ in range(1, _TRIES if load.scenario.cores == "two" else 1):
        if best["waited"] < _DISTURBED:
            break
        best = min(best, _measure_once(load, proxy), key=_waited)
    return best


def _waited(sample: Sample) -> float:
    return sample["waited"]


def _measure_once(load: Load, proxy: Process) -> Sample:
    log = AccessLog.of(load, proxy)
    before = proxy.usage()
    counts = generate(load, proxy)
    lines = log.await_lines(int(counts["count"])) if log else 0
    used = proxy.usage().since(before)
    count, seconds = counts["count"], counts["microseconds"] / 1e6
    sample = {
        "per_second": count / seconds,
        "cpu_us": used.total / count * 1e6,
        "user_us": used.user / count * 1e6,
        "system_us": used.system / count * 1e6,
        "sleeps": used.sleeps / count,
        "core": used.total / seconds,
        "waited": used.waited / seconds,
        "rss_mb": proxy.rss_mb(),
    }
    if load.scenario.kind == "ping-pong":
        sample["message_us"] = sample["cpu_us"] / 2
    if log:
        sample["logged"] = min(lines / count, 1.0)
    if "p50" in counts:
        sample |= {"p50_ms": counts["p50"] / 1000, "p99_ms": counts["p99"] / 1000}
    return sample
