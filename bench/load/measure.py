"""One run of one proxy -> a Sample: its figures by name.

per_second            requests, MB or round trips in a second
cpu_us                CPU time of the proxy for one of these, in microseconds
user_us, system_us    how that divides
p50_ms, p99_ms        latency; transfers have none
core                  the share of its core that the proxy had
rss_mb                resident memory, in megabytes
bytes_each            resident memory for each of many idle connections
listening_ms          from exec to the first connection that is accepted
"""

from collections.abc import Mapping

from bench.load.generators import Load, generate
from bench.load.processes import Process

Sample = Mapping[str, float]


def measure(load: Load, proxy: Process) -> Sample:
    """Load the proxy once."""
    before = proxy.cpu_time()
    counts = generate(load, proxy)
    used = proxy.cpu_time().since(before)
    count, seconds = counts["count"], counts["microseconds"] / 1e6
    sample = {
        "per_second": count / seconds,
        "cpu_us": used.total / count * 1e6,
        "user_us": used.user / count * 1e6,
        "system_us": used.system / count * 1e6,
        "core": used.total / seconds,
        "rss_mb": proxy.rss_mb(),
    }
    if "p50" in counts:
        sample |= {"p50_ms": counts["p50"] / 1000, "p99_ms": counts["p99"] / 1000}
    return sample
