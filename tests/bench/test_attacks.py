"""Attacks: what is sent, what the peer took of it, and what it costs a real proxy."""

import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import attacks, launch
from bench.load.attacks import RESETS, bomb, exchange, measure_attack, resets, taken
from bench.load.frames import (
    ACK,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Frame,
    frame,
    read_frames,
)
from bench.load.launch import start_proxy, start_upstream
from bench.load.loads import Load
from bench.load.probe import await_readiness, open_client, use
from bench.load.processes import BenchError, Cores, Process, free_port
from bench.load.programs import OURS
from bench.load.scenarios import load_scenarios
from tests.bench.blocks import decoded

NONE = Cores(frozenset(), frozenset())
SCENARIOS = load_scenarios()
MUCH = bytes(10_000_000)  # more than the buffers of both sockets


def exchanged(serve: Callable[[socket.socket], None], data: bytes) -> list[Frame]:
    """Return what an exchange with a peer in a thread gets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=serve, args=(theirs,))
        thread.start()
        try:
            return exchange(ours, data)
        finally:
            thread.join()


def answer_last(sock: socket.socket) -> None:
    """Read everything and answer the PING at its end."""
    received = b""
    while not received.endswith(b"attacked"):
        received = received[-8:] + sock.recv(1 << 20)
    sock.sendall(frame(SETTINGS) + frame(PING, ACK, payload=b"attacked"))


def end_early(sock: socket.socket) -> None:
    """Read a little, say that no more is taken, and end the connection."""
    sock.recv(1000)
    sock.sendall(goaway(3))
    sock.close()


def goaway(last: int) -> bytes:
    """Return a GOAWAY frame with its last stream."""
    return frame(GOAWAY, payload=last.to_bytes(4, "big") + bytes(4))


def test_an_exchange_ends_with_the_answer_to_everything() -> None:
    assert [one.kind for one in exchanged(answer_last, MUCH)] == [SETTINGS, PING]


def test_an_exchange_ends_where_the_peer_ends_it() -> None:
    assert [one.kind for one in exchanged(end_early, MUCH)] == [GOAWAY]


def test_a_peer_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "_TIMEOUT", 0.0)
    with pytest.raises(BenchError, match="neither answers nor ends"):
        exchanged(lambda _sock: None, b"")


@pytest.mark.parametrize(
    ("last", "count"), [(None, 10_000), (0, 0), (1, 1), (9_999, 5_000), (2**31 - 1, 10_000)]
)
def test_a_goaway_says_how_many_requests_were_taken(last: int | None, count: int) -> None:
    frames, _ = read_frames(goaway(last)) if last is not None else ([], b"")
    assert taken(frames) == count


def frames_of(sent: bytes) -> list[Frame]:
    """Return the frames behind a preface."""
    frames, rest = read_frames(sent.partition(b"SM\r\n\r\n")[2])
    assert not rest
    return frames


def load_of(name: str, upstream: int, directory: Path, cores: Cores = NONE) -> Load:
    """Return the load of a scenario."""
    return Load(SCENARIOS[name], upstream, 1, cores, directory)


def test_a_bomb_repeats_a_large_field(tmp_path: Path) -> None:
    sent = bomb(load_of("bomb-h2-c100", 1, tmp_path))
    heads = [one.payload for one in frames_of(sent) if one.kind == HEADERS]
    first, second = decoded(*heads)
    assert first[-1] == ("x", "v" * 3900)
    assert second.count(first[-1]) == 16_000
    assert 100 * len(sent) > 1_600_000


def test_each_request_is_reset_at_once(tmp_path: Path) -> None:
    frames = frames_of(resets(load_of("resets-h2-c2", 1, tmp_path)))
    streams = [(one.kind, one.stream) for one in frames if one.stream]
    assert streams == [(kind, 2 * at + 1) for at in range(RESETS) for kind in (HEADERS, RST_STREAM)]
    first, *others = decoded(*(one.payload for one in frames if one.kind == HEADERS))
    assert (":method", "GET") in first
    assert others == [first] * (RESETS - 1)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """Return a running upstream."""
    if sys.platform != "linux":
        pytest.skip("only Linux pins processes to cores")
    monkeypatch.setattr(launch, "upstream_name", lambda _scenario: "asyncio")
    every = frozenset(os.sched_getaffinity(0))
    with start_upstream(SCENARIOS["start"], Cores(every, every), tmp_path) as started:
        yield started


@pytest.mark.parametrize("name", ["get-small-h2-c1", "get-100k-h2-s10-c1", "get-small-tls-c64"])
def test_a_client_speaks_as_the_scenario_says(name: str, upstream: Process, tmp_path: Path) -> None:
    with proxy_of(name, upstream, tmp_path) as (load, proxy):
        await_readiness(load, proxy)
        with open_client(load, proxy) as sock:
            assert isinstance(sock, ssl.SSLSocket) == load.scenario.is_tls


def test_a_response_other_than_200_is_an_error(upstream: Process, tmp_path: Path) -> None:
    with proxy_of("get-small-h2-c1", upstream, tmp_path) as (load, proxy):
        broken = replace(load, upstream=free_port())
        with open_client(broken, proxy) as sock, pytest.raises(BenchError, match="bytes"):
            use(sock, broken, proxy)


@pytest.mark.parametrize("name", ["resets-h2-c2", "bomb-h2-c100"])
def test_an_attack_is_measured(
    name: str, upstream: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "RESETS", 100)
    with proxy_of(name, upstream, tmp_path) as (load, proxy):
        sample = measure_attack(load, proxy)
    assert sample["cpu_ms"] > 0
    assert sample["growth_mb"] >= 0
    assert sample.get("taken", 1) == 1


def test_a_proxy_that_breaks_under_an_attack_is_an_error(
    upstream: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> socket.socket:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(attacks, "open_client", refused)
    with (
        proxy_of("bomb-h2-c100", upstream, tmp_path) as (load, proxy),
        pytest.raises(BenchError, match="under attack: refused"),
    ):
        measure_attack(load, proxy)


@contextmanager
def proxy_of(name: str, upstream: Process, directory: Path) -> Iterator[tuple[Load, Process]]:
    """Run a proxy, and return the load of a scenario for it."""
    every = frozenset(os.sched_getaffinity(0))
    load = load_of(name, upstream.port, directory, Cores(every, every))
    with start_proxy(OURS, load.scenario, load.upstream, load.cores, directory) as proxy:
        yield load, proxy
