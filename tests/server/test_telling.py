"""Snapshots from other processes: what comes over a socket, and who does not answer."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy.server import telling
from cmux_proxy.server.channels import Channels
from cmux_proxy.server.telling import OneWorker, SeveralWorkers, tell_others
from tests.helpers.timing import soon


def tell(most: int) -> dict[str, Any]:
    """Return what a worker might tell: far more than a socket holds at once."""
    return {"each": most, "much": "x" * 1_000_000}


async def test_one_worker_tells_by_itself() -> None:
    assert await OneWorker(tell).snapshots(7) == [tell(7)]


async def test_several_tell_over_their_sockets() -> None:
    channels = Channels(2)
    paths = channels.paths
    servers = [await tell_others(channels._sockets[number], tell) for number in (1, 2)]
    source = SeveralWorkers(paths)
    assert await soon(source.snapshots(7)) == [tell(7), tell(7)]
    assert await soon(source.snapshots(0)) == [tell(0), tell(0)]
    for server in servers:
        server.close()
    channels.close()


async def test_who_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_PATIENCE", 0.05)
    channels = Channels(3)
    paths = channels.paths
    server = await tell_others(channels._sockets[1], tell)

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"{")
        writer.close()

    other = await asyncio.start_unix_server(nonsense, sock=channels._sockets[2])
    # The third listens, and nobody accepts.
    monkeypatch.setattr(telling, "_PATIENCE", 5.0)
    first = asyncio.get_running_loop().create_task(SeveralWorkers(paths[:2]).snapshots(0))
    assert await soon(first) == [tell(0)]
    monkeypatch.setattr(telling, "_PATIENCE", 0.05)
    assert await soon(SeveralWorkers([paths[2], "/nowhere"]).snapshots(0)) == []
    server.close()
    other.close()
    channels.close()


async def test_who_asks_and_leaves_is_no_trouble(tmp_path: Path) -> None:
    channels = Channels(1)
    server = await tell_others(channels._sockets[1], tell)
    _, writer = await asyncio.open_unix_connection(channels.paths[0])
    writer.write(b"0\n")
    writer.transport.abort()
    told = await soon(SeveralWorkers(channels.paths).snapshots(0))
    assert json.dumps(told) == json.dumps([tell(0)])
    server.close()
    channels.close()


@pytest.mark.parametrize("asked", [b"", b"x\n"], ids=["nothing", "nonsense"])
async def test_who_leaves_before_it_has_asked_is_no_trouble(asked: bytes) -> None:
    channels = Channels(1)
    [path] = channels.paths
    server = await tell_others(channels._sockets[1], tell)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(asked)
    writer.write_eof()
    # What is left unhandled fails the test, too.
    assert await soon(reader.read()) == b""
    writer.close()
    server.close()
    channels.close()
