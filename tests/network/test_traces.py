"""Traces of the command: spans for a collector, and a traceparent that is forwarded unchanged."""

from tests.helpers.collector import attributes, collector
from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import proxy_process
from tests.helpers.script import head
from tests.helpers.timing import later
from tests.helpers.wire import Wire

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_request_has_a_span_in_its_trace_and_its_traceparent_is_forwarded(
    loop_name: str,
) -> None:
    with collector() as kept:
        async with (
            proxy_process(loop_name, "--otlp", kept.url) as proxy,
            origin(responding(lambda _request: http_response(b"hello"))) as upstream,
        ):
            with await Wire.to("127.0.0.1", proxy.port) as wire:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                fields = ("Host: a", route, f"traceparent: {TRACEPARENT}", "tracestate: a=1")
                await wire.send(head("GET /a?q=1 HTTP/1.1", *fields, "Connection: close"))
                await later(wire.receive_all())
            expected = head(
                "GET /a?q=1 HTTP/1.1", "Host: a", f"traceparent: {TRACEPARENT}", "tracestate: a=1"
            )
            assert upstream.connections[0].received == expected
            # Spans that wait are sent when the process ends.
            await proxy.stop()
    [span] = kept.spans
    assert span.trace_id.hex() == TRACEPARENT.split("-")[1]
    sent = attributes(span.attributes)
    assert (sent["url.path"], sent["http.response.status_code"]) == (
        "/a",
        200,
    )


async def test_an_unreachable_collector_delays_nothing(loop_name: str) -> None:
    async with proxy_process(loop_name, "--otlp", "http://127.0.0.1:1") as proxy:
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await wire.send(head("GET / HTTP/1.1", "Host: a", "Connection: close"))
            assert (await later(wire.receive_all())).startswith(b"HTTP/1.1 400 ")
        proxy.signal()
        status, errors = await proxy.ended()
    assert status == 0
    assert "Traceback" not in errors
