"""Spans: what a collector gets for a record, and which trace it continues."""

import importlib.util

import pytest

from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.record import HTTP_1_1, HTTP_2, REQUEST, Record
from cmux_proxy.server.tracing import Tracing
from tests.helpers.collector import Collector, attributes, collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def record_of(trace: str = "") -> Record:
    record = Record(REQUEST, "192.0.2.1", 100.0)
    record.ended = 101.5
    record.method, record.path, record.status = "GET", "/a", 200
    record.protocol = HTTP_1_1
    record.host, record.port = "127.0.0.1", 3000
    record.trace = trace
    return record


def sent(*records: Record) -> Collector:
    with collector() as kept:
        tracing = Tracing(kept.url + "/")
        for record in records:
            tracing.put(record)
        tracing.close()
    return kept


def test_a_span_of_http2_has_its_version() -> None:
    record = record_of()
    record.protocol = HTTP_2
    [span] = sent(record).spans
    assert attributes(span.attributes)["network.protocol.version"] == "2"


def test_a_record_is_a_span_with_its_fields() -> None:
    failed = record_of()
    failed.status, failed.error = 502, "connection_refused"
    kept = sent(record_of(), failed)
    assert kept.services == {"cmux-proxy"}
    complete, incomplete = kept.spans
    assert (complete.name, complete.kind) == ("GET", 2)
    assert complete.end_time_unix_nano - complete.start_time_unix_nano == 1_500_000_000
    assert attributes(complete.attributes) == {
        "http.request.method": "GET", "url.path": "/a", "http.response.status_code": 200,
        "network.protocol.version": "1.1", "client.address": "192.0.2.1",
        "server.address": "127.0.0.1", "server.port": 3000, "cmux.kind": "request",
        "cmux.reused": False,
    }  # fmt: skip
    assert attributes(incomplete.attributes)["error.type"] == "connection_refused"
    assert complete.trace_id != incomplete.trace_id


def test_a_span_continues_the_trace_of_its_request() -> None:
    [span] = sent(record_of(f"00-{TRACE}-{PARENT}-01")).spans
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == PARENT
    assert span.span_id.hex() != PARENT


def test_an_unsampled_trace_has_no_span_and_an_invalid_one_begins_a_new_trace() -> None:
    kept = sent(record_of(f"00-{TRACE}-{PARENT}-00"), record_of("nonsense"))
    [span] = kept.spans
    assert span.trace_id.hex() != TRACE
    assert span.parent_span_id == b""


def test_the_name_of_the_service_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b")
    assert sent(record_of()).services == {"edge"}


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        Tracing("http://127.0.0.1:1")
    assert caught.value.field == "observability.otlp"
    assert "pip install 'cmux-proxy[otlp]'" in caught.value.reason
