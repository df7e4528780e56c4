"""nginx reads a forwarded request exactly as the proxy's parser does.

nginx logs each request with its body. A second request after each one shows that nginx finds the
end of the first at the same byte.
"""

import asyncio
import json
import random
import re
from pathlib import Path
from typing import NamedTuple

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.response_body import response_body
from tests.helpers.cases import read_cases
from tests.helpers.feeding import feed_pieces
from tests.helpers.grammars import CONTESTED_REQUESTS
from tests.helpers.judging import CHUNKS, JudgedRequest, judge_request
from tests.helpers.mutants import mutant
from tests.helpers.nginx import nginx
from tests.helpers.script import Stage, stage
from tests.helpers.timing import SOON, later
from tests.helpers.wire import Wire

CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 64; }}
http {{
    log_format seen escape=json
        '["$request_method", "$request_uri", "$http_host", "$request_body"]';
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port};
        client_body_buffer_size 64k;
        underscores_in_headers on;
        merge_slashes off;
        location / {{
            access_log {folder}/seen seen;
            # nginx reads a body only if it forwards it.
            proxy_pass http://unix:{folder}/inner;
        }}
    }}
    server {{ listen unix:{folder}/inner; return 200; }}
}}
"""

NEXT_REQUEST = (
    "GET /next HTTP/1.1\r\nHost: next\r\nX-Cmux-Port-Internal: {}\r\nConnection: close\r\n\r\n"
)
ROUTE = b"X-Cmux-Port-Internal: 3000\r\n"
FRAGMENTS = (
    b"\r", b"\n", b"\r\n", b"\r\n ", b"\x00", b" ", b"\t", b"\x0b", b"\x7f", b"\x80", b"\xff", b":",
    b",", b";", b"0", b"+", b"-", b"_", b"0x", b"\r\nContent-Length: 5", b"\r\nA: b", b"0\r\n\r\n",
)  # fmt: skip


class LoggedRequest(NamedTuple):
    """A request as nginx has parsed it."""

    method: str
    target: str
    host: str
    content: bytes


def judge_accepted(data: bytes) -> JudgedRequest | None:
    """Return the request if it is complete, for this upstream, and neither CONNECT nor upgrade."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return None
    if judged is None or not judged.is_complete or judged.upgrade:
        return None
    # A workspace is another upstream, and a mutation may have changed the port.
    has_other_route = ROUTE not in data or len(judged.head.reserved) != 1
    return None if judged.head.method == b"CONNECT" or has_other_route else judged


def expected_request(judged: JudgedRequest, data: bytes, port: int) -> LoggedRequest:
    """Return the request that nginx must log."""
    method, target, _version = judged.forwarded.split(b"\r\n")[0].split(b" ")
    lines = judged.forwarded.partition(b"\r\n\r\n")[0].split(b"\r\n")
    hosts = [line.partition(b":")[2] for line in lines if line.lower().startswith(b"host:")]
    body = response_body(judged.framing, CHUNKS, unwrap=True)
    content = feed_pieces(body, [data[judged.head.end :]]).output
    # An HTTP/1.0 request without Host gets the upstream's address as Host.
    host = hosts[0].strip(b" \t").replace(b"127.0.0.1:3000", b"127.0.0.1:%d" % port)
    return LoggedRequest(method.decode(), target.decode(), host.decode(), content)


def is_refused_by_nginx(request: LoggedRequest, sent: bytes) -> bool:
    """Return whether nginx refuses this request although it is valid.

    nginx allows only certain letters in a method, does not forward "*", treats a tab around a
    value as a part of it (RFC 9110 section 5.5 does not), and refuses Expect on two lines.
    """
    if re.fullmatch("[A-Z_-]+", request.method) is None or request.target == "*":
        return True
    head = sent.partition(b"\r\n\r\n")[0]
    if len(re.findall(rb"(?i)\nexpect:", head)) > 1:
        return True
    return re.search(rb"(?i)\n(?:host|content-length):[^\r]*\t", head) is not None


class LoggingNginx:
    """An nginx behind the proxy, and its log."""

    def __init__(self, on: Stage, port: int, log: Path) -> None:
        self._on = on
        self._port = port
        self._log = log
        self._read = 0

    async def agrees(self, data: bytes) -> bool:
        """Send a request if the proxy accepts it; return whether it does.

        Fail unless nginx logs the expected request, or refuses it although it is valid.
        """
        judged = judge_accepted(data)
        if judged is None:
            return False
        request = expected_request(judged, data, self._port)
        expected = [] if is_refused_by_nginx(request, judged.forwarded) else [request]
        if judged.keeps_alive:
            expected.append(LoggedRequest("GET", "/next", "next", b""))
        sent = data.removesuffix(judged.trailing_data)
        assert await self._log_of(sent, len(expected)) == expected, data
        return True

    async def _log_of(self, data: bytes, count: int) -> list[LoggedRequest]:
        """Send a request and a second one after it; return the requests that nginx has logged."""
        data = data.replace(ROUTE, b"X-Cmux-Port-Internal: %d\r\n" % self._port, 1)
        with await Wire.to(self._on.address.host, self._on.address.port) as wire:
            await later(wire.send(data + NEXT_REQUEST.format(self._port).encode()))
            await later(wire.receive_all())
        log = await self._logged(count)
        return [_parse_line(line) for line in log.decode("latin-1").splitlines()]

    async def _logged(self, count: int) -> bytes:
        """Return the new lines of the log; nginx writes them after the responses, so wait."""
        async with asyncio.timeout(SOON):
            log = self._log.read_bytes()[self._read :]
            while log.count(b"\n") < count:
                await asyncio.sleep(0)
                log = self._log.read_bytes()[self._read :]
        self._read += len(log)
        return log


def _parse_line(line: str) -> LoggedRequest:
    method, target, host, body = json.loads(line)
    return LoggedRequest(method, target, host, body.encode("latin-1"))


def mutants(count: int) -> list[bytes]:
    """Return mutations of the valid corpus, always the same ones."""
    rng = random.Random(9112)
    valid = [case.data for case in read_cases("requests/valid")]
    return [mutant(rng, valid, FRAGMENTS) for _ in range(count)]


async def test_nginx_and_the_proxy_agree_on_the_valid_requests_of_the_corpus(
    tmp_path: Path,
) -> None:
    async with nginx(tmp_path, CONFIG) as port, stage() as on:
        reader = LoggingNginx(on, port, tmp_path / "seen")
        agreed = [await reader.agrees(case.data) for case in read_cases("requests/valid")]
        assert sum(agreed) > 50


async def test_nginx_and_the_proxy_agree_on_accepted_mutations(
    tmp_path: Path,
) -> None:
    async with nginx(tmp_path, CONFIG) as port, stage() as on:
        reader = LoggingNginx(on, port, tmp_path / "seen")
        agreed = [await reader.agrees(data) for data in [*mutants(2000), *CONTESTED_REQUESTS]]
        assert sum(agreed) > 100


def test_a_line_of_the_log_is_parsed() -> None:
    line = '["POST", "/", "a", "x\u00c3\u00a9\\u0000"]'
    assert _parse_line(line) == LoggedRequest("POST", "/", "a", b"x\xc3\xa9\x00")
