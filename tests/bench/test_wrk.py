"""The script of wrk, and the ports of the upstreams."""

import asyncio
import contextlib
import json
import os
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import launch
from bench.load.generators import wrk_command
from bench.load.launch import start_upstream
from bench.load.loads import FIELD, Load
from bench.load.processes import Cores, free_ports
from bench.load.scenarios import load_scenarios
from tests.helpers.tools import finish, tool

CORES = Cores(frozenset(), frozenset())
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def server(heads: list[bytes]) -> AsyncIterator[int]:
    """Run a server that keeps the heads of its requests; return its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(RESPONSE)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


def values(name: str, field: str, more_ports: tuple[int, ...] = ()) -> Counter[bytes]:
    """Return how often each value of a field arrives in a second of a scenario."""
    return asyncio.run(_values(name, field, more_ports))


async def _values(name: str, field: str, more_ports: tuple[int, ...]) -> Counter[bytes]:
    tool("wrk")
    heads: list[bytes] = []
    scenario = replace(load_scenarios()[name], connections=4)
    async with server(heads) as port:
        load = Load(scenario, 2001, 1, CORES, Path(), more_ports)
        done = await finish(*wrk_command(load, port))
    assert json.loads(done.out.splitlines()[-1])["count"] > 0
    start = f"{field}: ".encode()
    lines = [line for head in heads for line in head.split(b"\r\n")]
    return Counter(line.removeprefix(start) for line in lines if line.startswith(start))


def test_requests_have_each_port_in_turn() -> None:
    counts = values("get-small-p200-c64", FIELD, tuple(range(2002, 2006)))
    assert sorted(counts) == [b"2001", b"2002", b"2003", b"2004", b"2005"]
    # Those of the four connections that were on their way at the end may be lost.
    assert max(counts.values()) - min(counts.values()) <= 5


def test_requests_of_one_upstream_have_its_port() -> None:
    assert list(values("get-small-c64", FIELD)) == [b"2001"]


def test_a_unique_field_has_no_value_twice() -> None:
    counts = values("get-browser-unique-c64", "Cookie")
    assert set(counts.values()) == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes to cores")
@pytest.mark.parametrize("name", ["nginx", "asyncio"])
def test_the_upstream_listens_on_all_ports(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "nginx":
        tool("nginx")
    monkeypatch.setattr(launch, "upstream_name", lambda _scenario: name)
    ports = free_ports(3)
    every = frozenset(os.sched_getaffinity(0))
    scenario = load_scenarios()["get-small-p200-c64"]
    with start_upstream(scenario, Cores(every, every), tmp_path, ports) as upstream:
        bodies = [
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
            for port in (upstream.port, *ports)
        ]
    assert bodies == [b"hello, world\n"] * 4
