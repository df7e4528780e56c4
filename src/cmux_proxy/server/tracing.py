"""Records -> spans, exported by OpenTelemetry's SDK over OTLP/HTTP, in a separate thread.

A span continues the trace that the request names in `traceparent` (W3C Trace Context). The field is
forwarded unchanged, so the upstream's spans are siblings of the proxy's span, not its children.
"""

import os
import time
from typing import Any, Final

from cmux_proxy._build import __version__
from cmux_proxy.observe.record import HTTP_2, Record
from cmux_proxy.server.optional_packages import require_packages

_NANOSECONDS: Final = 1_000_000_000
# Seconds that an export may take, retries included.
_EXPORT_TIMEOUT: Final = 2


def require_tracing() -> None:
    """Raise ConfigError where the extra `otlp` is not installed."""
    require_packages(
        "observability.otlp",
        "otlp",
        ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    )


class Tracing:
    """Exports to the collector at `url`, such as http://127.0.0.1:4318; raises ConfigError."""

    def __init__(self, url: str) -> None:
        require_tracing()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        name = os.environ.get("OTEL_SERVICE_NAME", "cmux-proxy")
        service = Resource.create({"service.name": name, "service.version": __version__})
        # The proxy closes the provider itself, when it has drained.
        self._provider = TracerProvider(resource=service, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{url.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("cmux_proxy", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._span_kind = SpanKind.SERVER

    def put(self, record: Record) -> None:
        """Make a span of a record; the thread sends it later."""
        end = time.time_ns()
        start = end - round(record.duration() * _NANOSECONDS)
        span = self._tracer.start_span(
            record.method or record.kind,
            context=self._propagator.extract({"traceparent": record.trace}),
            kind=self._span_kind,
            attributes=_attributes(record),
            start_time=start,
        )
        span.end(end)

    def close(self) -> None:
        """Send the spans that wait; may block for that long."""
        self._provider.shutdown()


def _version(protocol: str) -> str:
    """Return the version of a protocol; OpenTelemetry's is 2 for HTTP/2.0."""
    return "2" if protocol == HTTP_2 else protocol.removeprefix("HTTP/")


def _attributes(record: Record) -> dict[str, Any]:
    """Return a record's fields, named by OpenTelemetry's conventions for HTTP or as `cmux.*`."""
    attributes = {
        "http.request.method": record.method,
        "url.path": record.path,
        "http.response.status_code": record.status,
        "network.protocol.version": _version(record.protocol),
        "client.address": record.client,
        "server.address": record.host,
        "server.port": record.port,
        "error.type": record.error,
        "cmux.kind": record.kind,
        "cmux.workspace": record.workspace,
        "cmux.bytes_in": record.received,
        "cmux.bytes_out": record.sent,
        "cmux.reused": record.is_reused,
    }
    return {
        name: value for name, value in attributes.items() if value not in ("", 0) or value is False
    }
