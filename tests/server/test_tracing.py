"""Spans: what a collector gets for a record, and whose trace it continues."""

import importlib.util

import pytest

from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.record import REQUEST, Record
from cmux_proxy.server.tracing import Tracing
from tests.helpers.collector import Collector, attributes, collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def record(trace: str = "") -> Record:
    made = Record(REQUEST, "192.0.2.1", 100.0)
    made.ended = 101.5
    made.method, made.path, made.status = "GET", "/a", 200
    made.host, made.port = "127.0.0.1", 3000
    made.trace = trace
    return made


def sent(*records: Record) -> Collector:
    with collector() as kept:
        tracing = Tracing(kept.url + "/")
        for each in records:
            tracing.put(each)
        tracing.close()
    return kept


def test_a_record_is_a_span_with_what_it_tells() -> None:
    failed = record()
    failed.status, failed.error = 502, "connection_refused"
    kept = sent(record(), failed)
    assert kept.services == {"cmux-proxy"}
    fine, wrong = kept.spans
    assert (fine.name, fine.kind) == ("GET", 2)
    assert fine.end_time_unix_nano - fine.start_time_unix_nano == 1_500_000_000
    assert attributes(fine.attributes) == {
        "http.request.method": "GET", "url.path": "/a", "http.response.status_code": 200,
        "network.protocol.version": "1.1", "client.address": "192.0.2.1",
        "server.address": "127.0.0.1", "server.port": 3000, "cmux.kind": "request",
        "cmux.reused": False,
    }  # fmt: skip
    assert attributes(wrong.attributes)["error.type"] == "connection_refused"
    assert fine.trace_id != wrong.trace_id


def test_a_span_continues_the_trace_of_its_request() -> None:
    [span] = sent(record(f"00-{TRACE}-{PARENT}-01")).spans
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == PARENT
    assert span.span_id.hex() != PARENT


def test_a_trace_that_nobody_samples_has_no_span_and_nonsense_begins_a_new_one() -> None:
    kept = sent(record(f"00-{TRACE}-{PARENT}-00"), record("nonsense"))
    [span] = kept.spans
    assert span.trace_id.hex() != TRACE
    assert span.parent_span_id == b""


def test_its_name_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b")
    assert sent(record()).services == {"edge"}


def test_what_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        Tracing("http://127.0.0.1:1")
    assert caught.value.field == "observability.otlp"
    assert "pip install 'cmux-proxy[otlp]'" in caught.value.reason
