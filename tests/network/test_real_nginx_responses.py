"""nginx reads a response in the same way directly and through the proxy.

`make fuzz` tests many more responses (`fuzz/nginx.py`).
"""

import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cmux_proxy import Proxy
from tests.helpers.cases import read_cases
from tests.helpers.grammars import CONTESTED_RESPONSES
from tests.helpers.mutants import mutant
from tests.helpers.nginx_responses import NginxComparison, nginx_comparison
from tests.helpers.origins import origin
from tests.helpers.proxies import local_config
from tests.helpers.response_plays import Upstream

CASES = [case.data for case in read_cases("responses/valid") + read_cases("responses/invalid")]
FRAGMENTS = (
    b"\r", b"\n", b"\r\n", b"\n\n", b"\n ", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"5", b"-",
    b"\nContent-Length: 5", b"\nTransfer-Encoding: chunked", b"\nConnection: close", b"0\r\n\r\n",
)  # fmt: skip


@asynccontextmanager
async def running_comparison(folder: Path) -> AsyncIterator[tuple[NginxComparison, int]]:
    """Run the upstream, the proxy and nginx; return the session and the proxy's port."""
    upstream = Upstream()
    async with origin(upstream.behave) as source, Proxy(local_config()) as proxy:
        port = proxy.addresses[0].port
        async with nginx_comparison(folder, port, source, upstream) as session:
            yield session, port


async def test_nginx_reads_the_responses_of_the_corpus_through_the_proxy(tmp_path: Path) -> None:
    async with running_comparison(tmp_path) as (nginx, _port):
        agreed = [await nginx.compare(data) for data in CASES]
        assert sum(agreed) > 60


async def test_nginx_and_the_proxy_agree_on_mutated_responses(tmp_path: Path) -> None:
    rng = random.Random(9112)
    contested = rng.sample(CONTESTED_RESPONSES, 200)
    async with running_comparison(tmp_path) as (nginx, _port):
        spoiled = [mutant(rng, CASES, FRAGMENTS) for _ in range(300)]
        agreed = [await nginx.compare(data) for data in [*spoiled, *contested]]
        assert sum(agreed) > 100


async def test_nginx_keeps_its_connection_to_the_proxy(tmp_path: Path) -> None:
    async with running_comparison(tmp_path) as (nginx, port):
        connections = set()
        for data in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 2, 2\n\nok",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
            b"HTTP/1.1 302 Found\n\nuntil close",
        ):
            await nginx.compare(data)
            connections |= connections_to(port)
        assert len(connections) == 1


def connections_to(port: int) -> set[str]:
    """Return the other ends of the established connections to a port on 127.0.0.1."""
    rows = Path("/proc/net/tcp").read_text()
    return set(re.findall(rf" 0100007F:{port:04X} (\S+) 01 ", rows))
