"""A service that checks the Host of its requests, as dev servers do."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Final

_REFUSAL: Final = b"<!DOCTYPE html><title>no</title>\n<p>Blocked request. This host is not allowed."


class _HostChecking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        is_known = self.headers["Host"].partition(":")[0] in ("localhost", "127.0.0.1")
        body = b"welcome\n" if is_known else _REFUSAL
        self.send_response(200 if is_known else 403)
        self.send_header("Content-Type", "text/plain" if is_known else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def host_checking_server() -> Iterator[int]:
    """Run a server that refuses all hosts except its own; return its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _HostChecking) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
