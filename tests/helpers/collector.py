"""An OpenTelemetry collector that keeps the spans that it receives over OTLP."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Spans, and the names of the services that sent them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def take(self, path: str, body: bytes) -> None:
        """Read the body of a request."""
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = attributes(resource.resource.attributes)
            self.services.add(str(names["service.name"]))
            for scope in resource.scope_spans:
                self.spans += scope.spans


def attributes(pairs: object) -> dict[str, object]:
    """Return attributes by name."""
    by_name: dict[str, object] = {}
    for pair in pairs:  # type: ignore[attr-defined]
        field = pair.value.WhichOneof("value")
        by_name[pair.key] = getattr(pair.value, field)
    return by_name


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a port that the kernel chooses."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            kept.take(self.path, gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()
