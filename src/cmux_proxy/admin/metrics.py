"""WorkerStats -> metrics in Prometheus' format, through its client library.

Names follow Prometheus' conventions. The values of every label are limited, by this file or by the
file that counts them. Does not know HTTP.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from cmux_proxy.admin.port_metrics import PortTotals, port_metrics
from cmux_proxy.observe.histogram import BUCKETS
from cmux_proxy.observe.record import CONNECT, REQUEST, UPGRADE
from cmux_proxy.observe.traffic_stats import HistogramStats, SeriesStats, TrafficStats
from cmux_proxy.observe.worker_stats import WorkerStats

# A client's mistake, whatever the status.
_REQUEST_ERROR: Final = "http_request_error"
_KINDS: Final = (REQUEST, UPGRADE, CONNECT)
# Status and Proxy-Status error of the proxy's own responses that enforce a limit or a rule, and the
# name of that limit or rule.
_REJECTED: Final = {
    (414, "http_request_error"): "request_line",
    (431, "http_request_error"): "header_section",
    (408, "http_request_error"): "timeout",
    (401, "http_request_denied"): "token",
    (407, "http_request_denied"): "token",
    (403, "http_request_denied"): "access",
    (421, "http_request_denied"): "host",
    (503, "connection_limit_reached"): "connections",
    (503, "proxy_internal_response"): "draining",
    (508, "proxy_loop_detected"): "loop",
}
# The names that `server/access_log_writer.py` has for them.
_LOST_LINES: Final = ("queue_full", "write_failed")
_PROCESS: Final = (
    ("process_resident_memory_bytes", "resident_bytes", "Resident memory of all workers."),
    ("process_open_fds", "open_fds", "Open file descriptors of all workers."),
    ("process_max_fds", "max_fds", "Maximum number of file descriptors of one worker."),
    ("process_start_time_seconds", "start_time", "When the oldest worker started."),
)


def registry_of(stats: WorkerStats, ports: PortTotals | None) -> CollectorRegistry:
    """Return a registry with all metrics; without `ports` it has none of single ports.

    `prometheus_client.exposition` formats it.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatsCollector(stats, ports))
    return registry


class _StatsCollector(Collector):
    def __init__(self, stats: WorkerStats, ports: PortTotals | None) -> None:
        self._stats = stats
        self._ports = ports

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families."""
        stats = self._stats
        yield _requests(stats.traffic)
        yield from _latencies(stats.traffic)
        yield _outcomes(stats.outcomes)
        yield from _gauges(stats)
        yield from _totals(stats.traffic)
        yield from _errors(stats.traffic.errors)
        yield from _http2(stats)
        yield _handshakes(stats.traffic.handshakes)
        yield _lost_lines(stats.lost_lines)
        yield from _processes(stats)
        if self._ports is not None:
            yield from port_metrics(stats.ports, self._ports)


def _requests(traffic: TrafficStats) -> Metric:
    family = CounterMetricFamily(
        "cmux_proxy_requests", "Requests that have ended or have become tunnels.",
        labels=["kind", "method", "code"],
    )  # fmt: skip
    for key, series in sorted(traffic.series.items()):
        family.add_metric([key.kind, key.method, str(key.status)], series.durations.count())
    return family


def _latencies(traffic: TrafficStats) -> Iterator[Metric]:
    durations = HistogramMetricFamily(
        "cmux_proxy_request_duration_seconds",
        "From the whole request head to the last byte of the response.", labels=["kind"],
    )  # fmt: skip
    first_bytes = HistogramMetricFamily(
        "cmux_proxy_time_to_first_byte_seconds",
        "From the whole request head to the head of the response.", labels=["kind"],
    )  # fmt: skip
    for kind, series in _by_kind(traffic).items():
        _add_histogram(durations, [kind], series.durations)
        _add_histogram(first_bytes, [kind], series.first_bytes)
    yield durations
    yield first_bytes


def _by_kind(traffic: TrafficStats) -> dict[str, SeriesStats]:
    """Return the sums of all series of a kind, also of kinds that have none."""
    sums = dict.fromkeys(_KINDS, SeriesStats(HistogramStats(), HistogramStats()))
    for key, series in traffic.series.items():
        sums[key.kind] += series
    return sums


def _outcomes(outcomes: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(
        "cmux_proxy_exchanges", "Exchanges that have ended, by outcome.", labels=["outcome"]
    )
    for name, count in outcomes.items():
        family.add_metric([name], count)
    return family


def _gauges(stats: WorkerStats) -> Iterator[Metric]:
    yield _gauge("requests_in_flight", "Requests under way.", stats.in_flight)
    connections = GaugeMetricFamily(
        "cmux_proxy_connections", "Open connections, those of tunnels included.", labels=["side"]
    )
    connections.add_metric(["client"], stats.clients)
    connections.add_metric(["upstream"], stats.upstreams)
    yield connections
    yield _gauge("idle_upstream_connections", "Idle connections in the pool.", stats.idle_upstreams)
    tunnels = GaugeMetricFamily("cmux_proxy_tunnels", "Open tunnels.", labels=["kind"])
    for kind in (UPGRADE, CONNECT):
        tunnels.add_metric([kind], stats.tunnels.get(kind, 0))
    yield tunnels
    activity = max((port.last_byte for port in stats.ports.values()), default=0.0)
    yield _gauge("last_activity_timestamp_seconds", "When the last byte came, 0 if none.", activity)
    yield _gauge("draining", "Whether the proxy is shutting down.", int(stats.is_draining))


def _totals(traffic: TrafficStats) -> Iterator[Metric]:
    moved = CounterMetricFamily(
        "cmux_proxy_bytes", "Bytes of requests, responses and tunnels.", labels=["direction"]
    )
    moved.add_metric(["to_upstream"], traffic.received)
    moved.add_metric(["to_client"], traffic.sent)
    yield moved
    connects = HistogramMetricFamily(
        "cmux_proxy_upstream_connect_seconds", "Time to establish new connections to upstreams."
    )
    _add_histogram(connects, [], traffic.connects)
    yield connects
    yield CounterMetricFamily(
        "cmux_proxy_upstream_connections_reused",
        "Requests that reused a connection of the pool.", traffic.reused,
    )  # fmt: skip
    yield CounterMetricFamily(
        "cmux_proxy_retries", "Requests that were sent again.", traffic.retried
    )


def _errors(errors: Mapping[tuple[int, str], int]) -> Iterator[Metric]:
    by_error: dict[str, int] = {}
    by_reason: dict[str, int] = {}
    for (status, error), count in errors.items():
        reason = _rejection(status, error)
        table, name = (by_error, error) if reason is None else (by_reason, reason)
        table[name] = table.get(name, 0) + count
    text = "Responses that an upstream did not send or did not finish, by Proxy-Status error."
    yield _table("upstream_errors", text, "error", by_error)
    text = "Requests that the proxy rejected, by the limit or rule."
    yield _table("rejected", text, "reason", by_reason)


def _rejection(status: int, error: str) -> str | None:
    """Return why the proxy rejected a request; None where the upstream failed."""
    reason = _REJECTED.get((status, error))
    # The status is 0 where a response had begun. An unsupported HTTP version is a 505.
    if reason is None and (0 < status < 500 or error == _REQUEST_ERROR):
        return "request"
    return reason


def _http2(stats: WorkerStats) -> Iterator[Metric]:
    connections, streams = stats.http2_connections, stats.http2_streams
    yield _gauge("http2_connections", "Open connections of HTTP/2 clients.", connections)
    yield _gauge("http2_streams", "Open streams on these connections.", streams)
    text = "HTTP/2 connections that the proxy has ended, by error code."
    yield _table("http2_goaways", text, "code", stats.traffic.goaways)


def _handshakes(failures: Mapping[str, int]) -> Metric:
    text = "TLS handshakes of clients that have failed, by Proxy-Status error."
    return _table("tls_handshake_failures", text, "error", failures)


def _lost_lines(lost: Mapping[str, int]) -> Metric:
    counts = {reason: lost.get(reason, 0) for reason in _LOST_LINES}
    text = "Lines missing in the access log, by reason."
    return _table("access_log_lines_lost", text, "reason", counts)


def _processes(stats: WorkerStats) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "cmux_proxy_build_info", "Version, build and event loop.",
        labels=["version", "build", "loop"],
    )  # fmt: skip
    build.add_metric([stats.build.version, stats.build.build, stats.build.loop], 1)
    yield build
    yield _gauge("workers", "Worker processes that have responded.", stats.workers)
    yield CounterMetricFamily(
        "process_cpu_seconds", "CPU time of all workers.", stats.process.cpu_seconds
    )
    for name, field, text in _PROCESS:
        value = getattr(stats.process, field)
        if value is not None:
            yield GaugeMetricFamily(name, text, value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"cmux_proxy_{name}", text, value)


def _table(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"cmux_proxy_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _add_histogram(
    family: HistogramMetricFamily, labels: list[str], histogram: HistogramStats
) -> None:
    bounds = [*map(str, BUCKETS), "+Inf"]
    counts = accumulate(histogram.buckets)
    family.add_metric(labels, list(zip(bounds, counts, strict=True)), histogram.total)
