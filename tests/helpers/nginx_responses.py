"""nginx reads a response twice: directly from an upstream, and through the proxy.

The client sends a request to nginx, which forwards it to the same upstream once directly and once
through the proxy, over a connection that it keeps. The upstream sends the bytes of a response, and
closes its connection or keeps it open. These conditions must hold:

- Through the proxy, nginx reads what the proxy's parser has read, or an error or a cut.
- If nginx reads the raw response too, it is the same message, except for EXCEPTIONS in
  `response_plays.py`.
- nginx never logs an error about a response of the proxy.
- The next request on its connection to the proxy gets its own response.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tests.helpers.messages import Message, Reader
from tests.helpers.nginx import nginx
from tests.helpers.origins import Origin
from tests.helpers.response_plays import Play, Upstream, differs, play
from tests.helpers.script import head
from tests.helpers.timing import later
from tests.helpers.wire import Wire

CONFIG: Final = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream proxy {{ server 127.0.0.1:PROXY; keepalive 1; keepalive_requests 1000000; }}
    proxy_http_version 1.1;
    proxy_buffer_size 64k;
    proxy_buffers 8 64k;
    proxy_next_upstream off;
    proxy_redirect off;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering
        X-Accel-Charset Expires Cache-Control Set-Cookie Vary;
    server {{
        listen 127.0.0.1:{port};
        location /direct/ {{
            error_log {folder}/direct.log error;
            # Reached only if nginx waits for more bytes than there are.
            proxy_read_timeout 2s;
            proxy_pass http://127.0.0.1:UPSTREAM;
        }}
        location / {{
            error_log {folder}/through.log warn;
            proxy_set_header Host a;
            proxy_set_header Connection "";
            proxy_set_header X-Cmux-Port-Internal UPSTREAM;
            proxy_pass http://proxy;
        }}
    }}
}}
"""

# What nginx logs about a response that the proxy has cut.
_INCOMPLETE: Final = re.compile(rb"prematurely closed connection|Connection reset by peer")


class Log:
    """Reads the lines that nginx adds to a log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> list[bytes]:
        """Return the lines since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        self._read += len(data)
        return data.splitlines()


class NginxComparison:
    """An nginx, its client, and the upstream behind it and behind the proxy."""

    def __init__(self, port: int, folder: Path, source: Origin, upstream: Upstream) -> None:
        self._port = port
        self._source = source
        self._upstream = upstream
        self._direct = Log(folder / "direct.log")
        self._through = Log(folder / "through.log")
        self._reader: Reader | None = None
        self._number = 0

    async def compare(self, data: bytes) -> bool:
        """Let nginx read a response directly and through the proxy.

        Fail unless the conditions hold. Return whether nginx has read the raw response.
        """
        played = play(data)
        if played is None:
            return False
        self._upstream.next = played
        self._source.connections.clear()
        direct = await self._directly(played)
        await self._check_through(played, direct)
        await self._check_next()
        fault, self._upstream.fault = self._upstream.fault, ""
        assert not fault, fault
        return direct is not None

    async def _directly(self, played: Play) -> tuple[int, bytes] | None:
        """Return what nginx reads in the raw response; None if it logs an error."""
        # nginx treats bytes that are no response as HTTP/0.9 and forwards them until the end of the
        # connection.
        self.close()
        message = await self._request(played.method, "/direct/", "Connection: close")
        self.close()
        if self._direct.new() or message is None:
            return None
        return message.status, message.body

    async def _check_through(self, played: Play, direct: tuple[int, bytes] | None) -> None:
        message = await self._request(played.method, "/through/")
        faults = self._through.new()
        if message is None or _is_proxy_error(message):
            assert played.expected.message is None, "it is not delivered"
            assert message is None or not faults, faults
            is_incomplete = all(_INCOMPLETE.search(line) for line in faults)
            assert is_incomplete or differs(played.data), faults
            return
        read = (message.status, message.body)
        assert not faults, faults
        assert read == played.expected.message, (
            f"nginx reads {read}, {played.expected.message} is expected"
        )
        if direct is not None and not differs(played.data):
            assert read == direct, f"nginx reads {read} through the proxy, and {direct} directly"

    async def _check_next(self) -> None:
        """Send another request, which nginx forwards over the kept connection."""
        self._number += 1
        path = f"/marked/{self._number}"
        message = await self._request("GET", path)
        assert message is not None, "the next request gets no response"
        assert (message.status, message.body) == (200, path.encode()), message.head
        assert not self._through.new()

    async def _request(self, method: str, path: str, *fields: str) -> Message | None:
        """Return the response; None if it is incomplete or malformed."""
        if self._reader is None:
            self._reader = Reader(await Wire.to("127.0.0.1", self._port))
        reader = self._reader
        await reader.wire.send(head(f"{method} {path} HTTP/1.1", "Host: a", *fields))
        try:
            message = await later(reader.response(method))
        except (EOFError, ConnectionError, ValueError):
            self.close()
            return None
        if (message.field("connection") or "").lower() == "close":
            self.close()
        return message

    def close(self) -> None:
        """Close the connection to nginx; the next request opens another."""
        if self._reader is not None:
            self._reader.wire.close()
            self._reader = None


def _is_proxy_error(message: Message) -> bool:
    """Return whether a message is an error response of the proxy."""
    return (message.field("proxy-status") or "").startswith("cmux-proxy; error=")


@contextlib.asynccontextmanager
async def nginx_comparison(
    folder: Path, proxy_port: int, source: Origin, upstream: Upstream
) -> AsyncIterator[NginxComparison]:
    """Run nginx in front of the source, which behaves as `upstream` does, and of the proxy."""
    text = CONFIG.replace("PROXY", str(proxy_port)).replace("UPSTREAM", str(source.port))
    async with nginx(folder, text) as port:
        comparison = NginxComparison(port, folder, source, upstream)
        try:
            yield comparison
        finally:
            comparison.close()
