"""A merged snapshot -> metrics in Prometheus' format, through its client library.

Names follow its conventions. No label has more values than this file or a fixed bound allows.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from cmux_proxy.admin.aggregate import Snapshot, add
from cmux_proxy.admin.port_metrics import PortFigures, port_metrics
from cmux_proxy.observe.counters import BUCKETS

# What a client has done wrong, whatever the status.
_REQUEST_ERROR: Final = "http_request_error"
_KINDS: Final = ("request", "upgrade", "connect")
# What an answer of the proxy's own says about a limit or a rule: status and error, and its name.
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


def registry_of(snapshot: Snapshot, ports: "PortFigures | None") -> CollectorRegistry:
    """Return a registry with the metrics; `ports` has the figures of ports, None leaves them out.

    `prometheus_client.exposition` writes it down.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot, ports))
    return registry


class _Snapshot(Collector):
    def __init__(self, snapshot: Snapshot, ports: PortFigures | None) -> None:
        self._told = snapshot
        self._ports = ports

    def collect(self) -> Iterator[Metric]:
        """Give all families."""
        told = self._told
        yield from _requests(told["counts"])
        yield _outcomes(told["outcomes"])
        yield from _now(told)
        yield from _totals(told["counts"])
        yield from _errors(told["counts"]["errors"])
        yield _lost_lines(told["lost_lines"])
        yield from _about(told)
        if self._ports is not None:
            yield from port_metrics(told["ports"], self._ports)


def _requests(counts: Snapshot) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "cmux_proxy_requests", "Requests that have ended, or become tunnels.",
        labels=["kind", "method", "code"],
    )  # fmt: skip
    by_kind: dict[str, tuple[Snapshot, Snapshot]] = {
        kind: (_nothing(), _nothing()) for kind in _KINDS
    }
    for kind, method, status, durations, first_bytes in counts["series"]:
        requests.add_metric([kind, method, str(status)], sum(durations["buckets"]))
        for total, more in zip(by_kind[kind], (durations, first_bytes), strict=True):
            add(total, more)
    yield requests
    lasted = HistogramMetricFamily(
        "cmux_proxy_request_duration_seconds",
        "From the whole request head to the last byte of the answer.", labels=["kind"],
    )  # fmt: skip
    first = HistogramMetricFamily(
        "cmux_proxy_time_to_first_byte_seconds",
        "From the whole request head to the head of the answer.", labels=["kind"],
    )  # fmt: skip
    for kind, (durations, first_bytes) in by_kind.items():
        _add_histogram(lasted, [kind], durations)
        _add_histogram(first, [kind], first_bytes)
    yield lasted
    yield first


def _outcomes(outcomes: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "cmux_proxy_exchanges", "Exchanges that have ended, by how.", labels=["outcome"]
    )
    for name, count in outcomes.items():
        family.add_metric([name], count)
    return family


def _now(told: Snapshot) -> Iterator[Metric]:
    yield _gauge("requests_in_flight", "Requests under way.", told["in_flight"])
    connections = GaugeMetricFamily(
        "cmux_proxy_connections", "Open connections, those of tunnels included.", labels=["side"]
    )
    connections.add_metric(["client"], told["clients"])
    connections.add_metric(["upstream"], told["upstreams"])
    yield connections
    yield _gauge(
        "idle_upstream_connections", "Connections that wait to be used.", told["idle_upstreams"]
    )
    tunnels = GaugeMetricFamily("cmux_proxy_tunnels", "Open tunnels.", labels=["kind"])
    for kind in _KINDS[1:]:
        tunnels.add_metric([kind], told["tunnels"].get(kind, 0))
    yield tunnels
    activity = max((entry["last_byte"] for entry in told["ports"]), default=0.0)
    yield _gauge("last_activity_timestamp_seconds", "When the last byte came, 0 if none.", activity)
    yield _gauge("draining", "Whether the proxy is shutting down.", int(told["is_draining"]))


def _totals(counts: Snapshot) -> Iterator[Metric]:
    moved = CounterMetricFamily(
        "cmux_proxy_bytes", "Bytes of requests, answers and tunnels.", labels=["direction"]
    )
    moved.add_metric(["to_upstream"], counts["received"])
    moved.add_metric(["to_client"], counts["sent"])
    yield moved
    connects = HistogramMetricFamily(
        "cmux_proxy_upstream_connect_seconds", "How long new connections took to come about."
    )
    _add_histogram(connects, [], counts["connects"])
    yield connects
    yield CounterMetricFamily(
        "cmux_proxy_upstream_connections_reused",
        "Requests for which a connection of the pool was used.", counts["reused"],
    )  # fmt: skip
    yield CounterMetricFamily(
        "cmux_proxy_retries", "Requests that were sent once more.", counts["retried"]
    )


def _errors(errors: Iterable[list[Any]]) -> Iterator[Metric]:
    upstream = CounterMetricFamily(
        "cmux_proxy_upstream_errors",
        "Answers that an upstream did not give or not to the end, by Proxy-Status error.",
        labels=["error"],
    )
    rejected = CounterMetricFamily(
        "cmux_proxy_rejected", "Requests that the proxy refused, by what they met.",
        labels=["reason"],
    )  # fmt: skip
    by_error: dict[str, int] = {}
    by_reason: dict[str, int] = {}
    for status, error, count in errors:
        reason = _REJECTED.get((status, error))
        # A version that is not spoken is a 505, and amid an answer the status is 0.
        if reason is None and (0 < status < 500 or error == _REQUEST_ERROR):
            reason = "request"
        table, name = (by_error, error) if reason is None else (by_reason, reason)
        table[name] = table.get(name, 0) + count
    for error, count in by_error.items():
        upstream.add_metric([error], count)
    for reason, count in by_reason.items():
        rejected.add_metric([reason], count)
    yield upstream
    yield rejected


def _lost_lines(lost: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "cmux_proxy_access_log_lines_lost", "Lines missing in the access log, by why.",
        labels=["reason"],
    )  # fmt: skip
    for reason in _LOST:
        family.add_metric([reason], lost.get(reason, 0))
    return family


# As `server/access_log_writer.py` calls them.
_LOST: Final = ("queue_full", "write_failed")


def _about(told: Snapshot) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "cmux_proxy_build_info", "Which build it is.", labels=["version", "build", "loop"]
    )
    about = told["build"]
    build.add_metric([about["version"], about["build"], about["loop"]], 1)
    yield build
    yield _gauge("workers", "Worker processes that have answered.", told["workers"])
    process = told["process"]
    yield CounterMetricFamily(
        "process_cpu_seconds", "CPU time of all workers.", process["cpu_seconds"]
    )
    for name, of, text in _PROCESS:
        if of in process:
            yield GaugeMetricFamily(name, text, process[of])


_PROCESS: Final = (
    ("process_resident_memory_bytes", "resident_bytes", "Resident memory of all workers."),
    ("process_open_fds", "open_fds", "Open file descriptors of all workers."),
    ("process_max_fds", "max_fds", "Most file descriptors of one worker."),
    ("process_start_time_seconds", "start_time", "When the oldest worker started."),
)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"cmux_proxy_{name}", text, value)


def _nothing() -> Snapshot:
    return {"buckets": [0] * (len(BUCKETS) + 1), "total": 0.0}


def _add_histogram(family: HistogramMetricFamily, labels: list[str], told: Snapshot) -> None:
    bounds = [*map(str, BUCKETS), "+Inf"]
    counts = accumulate(told["buckets"])
    family.add_metric(labels, list(zip(bounds, counts, strict=True)), told["total"])
