"""Metrics: families and values, as the client library's own parser reads them back."""

import re
from typing import Any

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cmux_proxy.admin.aggregate import merged
from cmux_proxy.admin.metrics import registry_of
from cmux_proxy.admin.port_metrics import PortFigures
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ROUTE, Counted


def read(told: dict[str, Any], ports: PortFigures | None = None) -> dict[tuple[str, ...], float]:
    """Return the samples by name and the values of their labels."""
    text = generate_latest(registry_of(told, ports)).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def told_of_much() -> dict[str, Any]:
    """Return a snapshot after one request of each kind, an error upstream and two refusals."""
    on = Counted()
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK)
    on.world.ask(CONNECT)
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a", ROUTE.replace("80", "81")))
    on.world.dial().fails()
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    on.world.client().arrives(head("GET / HTTP/1.1", "A: " + "a" * 70000))
    return merged([on.told()])


async def test_requests_are_counted_by_kind_method_and_code() -> None:
    samples = read(await told_of_much())
    name = "cmux_proxy_requests_total"
    counted = {key[1:]: value for key, value in samples.items() if key[0] == name}
    assert counted == {
        ("200", "connect", "CONNECT"): 1, ("200", "request", "GET"): 1,
        ("400", "request", "GET"): 1, ("502", "request", "GET"): 1,
    }  # fmt: skip


async def test_exchanges_are_counted_by_how_they_ended() -> None:
    samples = read(await told_of_much())
    name = "cmux_proxy_exchanges_total"
    counted = {key[1]: value for key, value in samples.items() if key[0] == name and value}
    assert counted == {"complete": 1, "tunnelled": 1, "unavailable": 1, "refused": 1}


async def test_durations_are_histograms_by_kind() -> None:
    samples = read(await told_of_much())
    for name in ("request_duration", "time_to_first_byte"):
        whole = f"cmux_proxy_{name}_seconds"
        expected = 3 if name == "request_duration" else 1
        assert samples[f"{whole}_count", "request"] == expected
        assert samples[f"{whole}_bucket", "request", "+Inf"] == expected
        assert samples[f"{whole}_bucket", "request", "60.0"] == expected
        assert samples[f"{whole}_sum", "request"] >= 0
        assert samples[f"{whole}_count", "upgrade"] == 0
    assert samples[("cmux_proxy_upstream_connect_seconds_count",)] == 2


async def test_what_goes_on_now_is_gauges() -> None:
    samples = read(await told_of_much())
    assert samples[("cmux_proxy_requests_in_flight",)] == 0
    assert samples["cmux_proxy_connections", "client"] == 5
    assert samples["cmux_proxy_connections", "upstream"] == 2
    assert samples["cmux_proxy_tunnels", "connect"] == 1
    assert samples["cmux_proxy_tunnels", "upgrade"] == 0
    assert samples[("cmux_proxy_draining",)] == 0
    assert samples[("cmux_proxy_workers",)] == 1
    assert samples[("process_resident_memory_bytes",)] > 0
    assert samples[("process_cpu_seconds_total",)] > 0


async def test_errors_of_upstreams_and_refusals_are_told_apart() -> None:
    samples = read(await told_of_much())
    errors = {key[1]: value for key, value in samples.items() if "upstream_errors" in key[0]}
    rejected = {key[1]: value for key, value in samples.items() if "rejected" in key[0]}
    assert errors == {"connection_refused": 1}
    assert rejected == {"request": 1, "header_section": 1}


async def test_an_answer_that_breaks_off_is_the_upstreams_error_and_no_refusal() -> None:
    on = Counted()
    _, upstream = on.world.ask(GET)
    upstream.arrives(OK[:-1])
    upstream.ends()
    samples = read(merged([on.told()]))
    assert samples["cmux_proxy_upstream_errors_total", "http_response_incomplete"] == 1
    assert not any("rejected" in name for name, *_ in samples)


async def test_what_a_client_did_wrong_is_no_upstreams_error_whatever_the_status() -> None:
    on = Counted()
    on.world.client().arrives(head("GET / HTTP/3.0", "Host: a"))
    chunked = head("POST / HTTP/1.1", "Host: a", ROUTE, "Transfer-Encoding: chunked")
    client, upstream = on.world.ask(chunked)
    upstream.arrives(OK[:-1])
    client.arrives(b"no size\r\n")
    samples = read(merged([on.told()]))
    assert samples["cmux_proxy_rejected_total", "request"] == 2
    assert not any("upstream_errors" in name for name, *_ in samples)


async def test_lines_that_the_access_log_has_lost_are_counted_by_why() -> None:
    told = await told_of_much()
    name = "cmux_proxy_access_log_lines_lost_total"
    assert read(told)[name, "queue_full"] == read(told)[name, "write_failed"] == 0
    on = Counted()
    lost = [{"queue_full": 3, "write_failed": 0}, {"queue_full": 1, "write_failed": 5}]
    samples = read(merged([{**on.told(), "lost_lines": each} for each in lost]))
    assert (samples[name, "queue_full"], samples[name, "write_failed"]) == (4, 5)


async def test_names_follow_the_conventions() -> None:
    text = generate_latest(registry_of(await told_of_much(), PortFigures())).decode()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            assert re.fullmatch(r"(cmux_proxy|process)_[a-z_]+", name)
            assert (kind == "counter") == name.endswith("_total")
    helps = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    types = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert helps == types
