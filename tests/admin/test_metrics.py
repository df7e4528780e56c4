"""Metrics: families and values, as the client library's parser reads them."""

import json
import re
from dataclasses import replace

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cmux_proxy.admin.metrics import registry_of
from cmux_proxy.admin.port_metrics import PortTotals
from cmux_proxy.observe.traffic_stats import TrafficStats
from cmux_proxy.observe.worker_stats import WorkerStats, total_of
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ROUTE, ObservedWorker


def read(stats: WorkerStats, ports: PortTotals | None = None) -> dict[tuple[str, ...], float]:
    """Return the samples by name and the values of their labels."""
    text = generate_latest(registry_of(stats, ports)).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def varied_stats() -> WorkerStats:
    """Return statistics after a request, a CONNECT, an upstream error and two rejected requests."""
    worker = ObservedWorker()
    _, upstream = worker.world.ask(GET)
    upstream.arrives(OK)
    worker.world.ask(CONNECT)
    worker.world.client().arrives(head("GET / HTTP/1.1", "Host: a", ROUTE.replace("80", "81")))
    worker.world.dial().fails()
    worker.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    worker.world.client().arrives(head("GET / HTTP/1.1", "A: " + "a" * 70000))
    return worker.stats()


async def test_requests_are_counted_by_kind_method_and_code() -> None:
    samples = read(await varied_stats())
    name = "cmux_proxy_requests_total"
    counted = {key[1:]: value for key, value in samples.items() if key[0] == name}
    assert counted == {
        ("200", "connect", "CONNECT"): 1, ("200", "request", "GET"): 1,
        ("400", "request", "GET"): 1, ("502", "request", "GET"): 1,
    }  # fmt: skip


async def test_exchanges_are_counted_by_outcome() -> None:
    samples = read(await varied_stats())
    name = "cmux_proxy_exchanges_total"
    counted = {key[1]: value for key, value in samples.items() if key[0] == name and value}
    assert counted == {"complete": 1, "tunnelled": 1, "unavailable": 1, "refused": 1}


async def test_durations_are_histograms_by_kind() -> None:
    samples = read(await varied_stats())
    for name in ("request_duration", "time_to_first_byte"):
        metric = f"cmux_proxy_{name}_seconds"
        expected = 3 if name == "request_duration" else 1
        assert samples[f"{metric}_count", "request"] == expected
        assert samples[f"{metric}_bucket", "request", "+Inf"] == expected
        assert samples[f"{metric}_bucket", "request", "60.0"] == expected
        assert samples[f"{metric}_sum", "request"] >= 0
        assert samples[f"{metric}_count", "upgrade"] == 0
    assert samples[("cmux_proxy_upstream_connect_seconds_count",)] == 2


async def test_what_is_under_way_is_gauges() -> None:
    samples = read(await varied_stats())
    assert samples[("cmux_proxy_requests_in_flight",)] == 0
    # Five clients have connected; the connection of the last one is being closed.
    assert samples["cmux_proxy_connections", "client"] == 4
    assert samples["cmux_proxy_connections", "upstream"] == 2
    assert samples["cmux_proxy_tunnels", "connect"] == 1
    assert samples["cmux_proxy_tunnels", "upgrade"] == 0
    assert samples[("cmux_proxy_draining",)] == 0
    assert samples[("cmux_proxy_workers",)] == 1
    assert samples[("process_resident_memory_bytes",)] > 0
    assert samples[("process_cpu_seconds_total",)] > 0


async def test_upstream_errors_and_rejected_requests_are_distinguished() -> None:
    samples = read(await varied_stats())
    errors = {key[1]: value for key, value in samples.items() if "upstream_errors" in key[0]}
    rejected = {key[1]: value for key, value in samples.items() if "rejected" in key[0]}
    assert errors == {"connection_refused": 1}
    assert rejected == {"request": 1, "header_section": 1}


async def test_an_incomplete_response_is_an_upstream_error_and_not_rejected() -> None:
    worker = ObservedWorker()
    _, upstream = worker.world.ask(GET)
    upstream.arrives(OK[:-1])
    upstream.ends()
    samples = read(worker.stats())
    assert samples["cmux_proxy_upstream_errors_total", "http_response_incomplete"] == 1
    assert not any("rejected" in name for name, *_ in samples)


async def test_a_clients_mistake_is_never_an_upstream_error() -> None:
    worker = ObservedWorker()
    worker.world.client().arrives(head("GET / HTTP/3.0", "Host: a"))
    chunked = head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
    client, upstream = worker.world.ask(chunked)
    upstream.arrives(OK[:-1])
    client.arrives(b"no size\r\n")
    samples = read(worker.stats())
    assert samples["cmux_proxy_rejected_total", "request"] == 2
    assert not any("upstream_errors" in name for name, *_ in samples)


async def test_a_failed_handshake_is_counted_apart_from_requests_and_upstreams() -> None:
    worker = ObservedWorker()
    for _ in range(2):
        worker.world.client().arrives(b"\x16\x03\x01")
    stats = worker.stats()
    assert TrafficStats.from_json(json.loads(json.dumps(stats.traffic.to_json()))) == stats.traffic
    samples = read(total_of([stats, stats]))
    assert samples["cmux_proxy_tls_handshake_failures_total", "tls_protocol_error"] == 4
    assert not any("upstream_errors" in name or "rejected" in name for name, *_ in samples)


async def test_lines_that_the_access_log_has_lost_are_counted_by_reason() -> None:
    samples = read(await varied_stats())
    name = "cmux_proxy_access_log_lines_lost_total"
    assert samples[name, "queue_full"] == samples[name, "write_failed"] == 0
    stats = ObservedWorker().stats()
    lost = [{"queue_full": 3, "write_failed": 0}, {"queue_full": 1, "write_failed": 5}]
    samples = read(total_of([replace(stats, lost_lines=lines) for lines in lost]))
    assert (samples[name, "queue_full"], samples[name, "write_failed"]) == (4, 5)


async def test_names_follow_the_conventions() -> None:
    text = generate_latest(registry_of(await varied_stats(), PortTotals())).decode()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, metric_type = line.split()
            assert re.fullmatch(r"(cmux_proxy|process)_[a-z0-9_]+", name)
            assert (metric_type == "counter") == name.endswith("_total")
    helps = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    types = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert helps == types
