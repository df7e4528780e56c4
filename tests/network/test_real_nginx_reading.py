"""What nginx reads of what the proxy sends on: exactly the one request that was meant.

nginx writes down what it has understood, body and all; a request behind each shows that it has
found the end where we did.
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
            # Only what is passed on has its body read.
            proxy_pass http://unix:{folder}/inner;
        }}
    }}
    server {{ listen unix:{folder}/inner; return 200; }}
}}
"""

BEHIND = (
    "GET /behind HTTP/1.1\r\nHost: behind\r\nX-Cmux-Port-Internal: {}\r\nConnection: close\r\n\r\n"
)
ROUTE = b"X-Cmux-Port-Internal: 3000\r\n"
NASTY = (
    b"\r", b"\n", b"\r\n", b"\r\n ", b"\x00", b" ", b"\t", b"\x0b", b"\x7f", b"\x80", b"\xff", b":",
    b",", b";", b"0", b"+", b"-", b"_", b"0x", b"\r\nContent-Length: 5", b"\r\nA: b", b"0\r\n\r\n",
)  # fmt: skip


class Understood(NamedTuple):
    """One request as nginx has understood it."""

    method: str
    target: str
    host: str
    content: bytes


def accepted(data: bytes) -> JudgedRequest | None:
    """Return the request if it is whole, for this upstream, and neither CONNECT nor upgrade."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return None
    if judged is None or not judged.is_complete or judged.upgrade:
        return None
    # A workspace's port is another upstream's, and so may be the port of what was spoiled.
    is_elsewhere = ROUTE not in data or len(judged.head.fields.reserved) != 1
    return None if judged.head.method == b"CONNECT" or is_elsewhere else judged


def meant(judged: JudgedRequest, data: bytes, port: int) -> Understood:
    """Return what nginx has to understand."""
    method, target, _version = judged.forwarded.split(b"\r\n")[0].split(b" ")
    lines = judged.forwarded.partition(b"\r\n\r\n")[0].split(b"\r\n")
    hosts = [line.partition(b":")[2] for line in lines if line.lower().startswith(b"host:")]
    body = response_body(judged.framing, CHUNKS, unwrap=True)
    content = feed_pieces(body, [data[judged.head.end :]]).output
    # An HTTP/1.0 request without Host gets that of the upstream.
    host = hosts[0].strip(b" \t").replace(b"127.0.0.1:3000", b"127.0.0.1:%d" % port)
    return Understood(method.decode(), target.decode(), host.decode(), content)


def is_foreign(request: Understood, sent: bytes) -> bool:
    """Return whether nginx refuses this for reasons of its own.

    It knows methods of certain letters only, passes no "*" on, takes a tab for a part of a value,
    where RFC 9110 section 5.5 has it mean as little as a blank, and refuses Expect on two lines.
    """
    if re.fullmatch("[A-Z_-]+", request.method) is None or request.target == "*":
        return True
    head = sent.partition(b"\r\n\r\n")[0]
    if len(re.findall(rb"(?i)\nexpect:", head)) > 1:
        return True
    return re.search(rb"(?i)\n(?:host|content-length):[^\r]*\t", head) is not None


class Reader:
    """An nginx that is asked through the proxy, and its log."""

    def __init__(self, on: Stage, port: int, log: Path) -> None:
        self._on = on
        self._port = port
        self._log = log
        self._read = 0

    async def agrees(self, data: bytes) -> bool:
        """Send a request that is accepted; return False for another.

        Fail unless nginx has understood what was meant, or has refused it for its own reasons.
        """
        judged = accepted(data)
        if judged is None:
            return False
        request = meant(judged, data, self._port)
        expected = [] if is_foreign(request, judged.forwarded) else [request]
        if judged.keeps_alive:
            expected.append(Understood("GET", "/behind", "behind", b""))
        sent = data.removesuffix(judged.trailing_data)
        assert await self._reads(sent, len(expected)) == expected, data
        return True

    async def _reads(self, data: bytes, count: int) -> list[Understood]:
        """Send a request and another one behind it; return what nginx has understood."""
        data = data.replace(ROUTE, b"X-Cmux-Port-Internal: %d\r\n" % self._port, 1)
        with await Wire.to(self._on.address.host, self._on.address.port) as wire:
            await later(wire.send(data + BEHIND.format(self._port).encode()))
            await later(wire.receive_all())
        seen = await self._logged(count)
        return [_understood(line) for line in seen.decode("latin-1").splitlines()]

    async def _logged(self, count: int) -> bytes:
        """Return what is new in the log; it is written behind the answers, so wait for it."""
        async with asyncio.timeout(SOON):
            seen = self._log.read_bytes()[self._read :]
            while seen.count(b"\n") < count:
                await asyncio.sleep(0)
                seen = self._log.read_bytes()[self._read :]
        self._read += len(seen)
        return seen


def _understood(line: str) -> Understood:
    method, target, host, body = json.loads(line)
    return Understood(method, target, host, body.encode("latin-1"))


def mutants(count: int) -> list[bytes]:
    """Return mutations of the valid corpus, the same every time."""
    dice = random.Random(9112)
    valid = [case.data for case in read_cases("requests/valid")]
    return [mutant(dice, valid, NASTY) for _ in range(count)]


async def test_nginx_reads_the_valid_requests_of_the_corpus_as_they_were_meant(
    tmp_path: Path,
) -> None:
    async with nginx(tmp_path, CONFIG) as port, stage() as on:
        reader = Reader(on, port, tmp_path / "seen")
        agreed = [await reader.agrees(case.data) for case in read_cases("requests/valid")]
        assert sum(agreed) > 50


async def test_nginx_reads_what_is_accepted_of_spoiled_requests_as_it_was_meant(
    tmp_path: Path,
) -> None:
    async with nginx(tmp_path, CONFIG) as port, stage() as on:
        reader = Reader(on, port, tmp_path / "seen")
        agreed = [await reader.agrees(data) for data in [*mutants(2000), *CONTESTED_REQUESTS]]
        assert sum(agreed) > 100


def test_a_request_that_nginx_misread_would_be_seen() -> None:
    """Two requests where one was meant are two lines of its log."""
    line = '["POST", "/", "a", "x\u00c3\u00a9\\u0000"]'
    assert _understood(line) == Understood("POST", "/", "a", b"x\xc3\xa9\x00")
