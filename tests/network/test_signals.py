"""What signals do to a running proxy, and that none is lost (contract, section 8)."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.helpers.origins import answer, answering, origin
from tests.helpers.proxies import MODULE, ProxyProcess, environment, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import SOON, later
from tests.helpers.wire import Wire

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


async def serves(proxy: ProxyProcess) -> None:
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        await is_served(wire)


# Standard error that nobody reads


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Give the writing end of a pipe that is full and that nobody reads."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.asynccontextmanager
async def unread(*flags: str) -> AsyncIterator[ProxyProcess]:
    """Run a proxy whose standard error is full."""
    with full_pipe() as errors:
        process = await asyncio.create_subprocess_exec(
            *MODULE, "--listen", "127.0.0.1:0", *flags,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment(CMUX_ACCESS_LOG="errors"),
        )  # fmt: skip
        proxy = ProxyProcess(process)
        try:
            await proxy.started()
            yield proxy
        finally:
            proxy.kill()
            await later(process.communicate())


@WORKERS
async def test_a_drain_does_not_wait_for_who_reads_standard_error(
    loop_name: str, workers: str
) -> None:
    async with unread("--loop", loop_name, "--workers", workers, "--drain-timeout", "0") as proxy:
        for _ in range(8):
            await serves(proxy)
        proxy.signal(signal.SIGUSR1)
        await serves(proxy)
        if workers == "2":
            os.kill(proxy.workers()[0], signal.SIGKILL)
        proxy.signal()
        assert await later(proxy._process.wait()) in (0, 128 + signal.SIGKILL)


BLOCKED = """
import os, signal
from cmux_proxy import Config, run
def blocks(addresses, loop):
    print("cmux-proxy blocks", flush=True)
    while True:
        {how}
run(Config(listen=["127.0.0.1:0"], loop={loop!r}), blocks)
"""


@pytest.mark.parametrize(
    "how", ["os.read(0, 1)", "pass", "os.write(int(os.environ['FULL']), b'x' * 4096)"],
    ids=["reads", "computes", "writes"],
)  # fmt: skip
async def test_a_second_signal_ends_a_process_whose_loop_does_not_turn(
    loop_name: str, how: str
) -> None:
    reading, writing = os.pipe()
    with full_pipe() as full:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BLOCKED.format(loop=loop_name, how=how)),
            stdin=reading,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(FULL=str(full)),
            pass_fds=[full],
        )
        proxy = ProxyProcess(process)
        try:
            await proxy.started()
            proxy.signal(signal.SIGTERM)
            await is_taken(proxy, signal.SIGTERM)
            proxy.signal(signal.SIGINT)
            assert await proxy.ended() == (128 + signal.SIGINT, "")
        finally:
            proxy.kill()
            os.close(reading)
            os.close(writing)


def is_pending(pid: int, number: int) -> bool:
    """Return whether a signal still waits for its process to take it."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


async def is_taken(proxy: ProxyProcess, number: int) -> None:
    """Wait until a signal has reached its process."""
    async with asyncio.timeout(SOON):
        while is_pending(proxy.pid, number):  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0)


# Hang-ups, and signals without a meaning


@WORKERS
async def test_a_hangup_drains_where_there_is_nothing_to_read_again(
    loop_name: str, workers: str
) -> None:
    async with proxy_process(loop_name, "--workers", workers) as proxy:
        proxy.signal(signal.SIGHUP)
        await proxy.drains()


@WORKERS
async def test_a_hangup_that_is_ignored_at_the_start_stays_ignored(
    loop_name: str, workers: str
) -> None:
    within = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    async with proxy_process(loop_name, "--workers", workers, within=within) as proxy:
        for pid in (proxy.pid, *proxy.workers()):
            os.kill(pid, signal.SIGHUP)
        await serves(proxy)
        await proxy.stop()


async def asks(proxy: ProxyProcess, port: int, token: str) -> bytes:
    """Ask with a token; return the status line's beginning."""
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        route = f"X-Cmux-Port-Internal: {port}"
        await wire.send(head("GET / HTTP/1.1", "Host: a", route, f"X-Cmux-Token: {token}"))
        return (await later(wire.receive()))[:12]


async def asks_admin(port: int, token: str) -> bytes:
    """Ask the admin listener with a token; return the status line's beginning."""
    with await Wire.to("127.0.0.1", port) as wire:
        await wire.send(
            head("GET /activity HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}")
        )
        return (await later(wire.receive()))[:12]


@WORKERS
async def test_a_hangup_reads_the_tokens_again(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n")
    file.chmod(0o600)
    flags = ("--workers", workers, "--auth-token-file", str(file), "--admin", "127.0.0.1:0")
    # With several workers the admin listener has a process of its own.
    processes = 1 if workers == "1" else 3
    async with (
        origin(answering(lambda _asked: answer(b"hello"))) as upstream,
        proxy_process(loop_name, *flags) as proxy,
    ):
        admin = int((await proxy.complaint()).rpartition(":")[2])
        assert await asks(proxy, upstream.port, "old") == b"HTTP/1.1 200"
        assert await asks_admin(admin, "old") != b"HTTP/1.1 401"
        file.write_text("new\nnewer\n")
        proxy.signal(signal.SIGHUP)
        for _ in range(processes):
            assert await proxy.complaint() == "cmux-proxy: INFO: tokens reloaded: 2"
        for token, status in (("old", b"401"), ("new", b"200"), ("newer", b"200")):
            # As many as make it certain that every worker is asked.
            for _ in range(16):
                assert await asks(proxy, upstream.port, token) == b"HTTP/1.1 " + status
            assert (await asks_admin(admin, token) == b"HTTP/1.1 401") is (token == "old")
        file.write_text("# none\n")
        proxy.signal(signal.SIGHUP)
        for _ in range(processes):
            assert await proxy.complaint() == (
                "cmux-proxy: WARNING: cannot reload the tokens, the old ones stay valid: "
                f"{file}: '{file}' has no token in it"
            )
        assert await asks(proxy, upstream.port, "new") == b"HTTP/1.1 200"
        await proxy.stop()


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
async def test_a_signal_without_a_meaning_is_a_line(
    loop_name: str, workers: str, number: signal.Signals
) -> None:
    async with proxy_process(loop_name, "--workers", workers) as proxy:
        for pid in (proxy.pid, *proxy.workers()):
            os.kill(pid, number)
            line = f"cmux-proxy: WARNING: {number.name} has no meaning here and is ignored"
            assert await proxy.complaint() == line
        await serves(proxy)
        await proxy.stop()


# Workers that do not follow, and a supervisor that lacks something


async def test_a_worker_that_is_stopped_is_killed_after_the_drain_timeout(loop_name: str) -> None:
    flags = ("--workers", "2", "--drain-timeout", "10ms", "--admin", "127.0.0.1:0")
    async with proxy_process(loop_name, *flags) as proxy:
        assert "admin listener on" in await proxy.complaint()
        os.kill(proxy.workers()[0], signal.SIGSTOP)
        proxy.signal()
        status, errors = await proxy.ended()
        assert status == 128 + signal.SIGKILL
        assert errors == "cmux-proxy: WARNING: worker 1 does not end, and is killed\n"


async def test_an_admin_process_that_is_stopped_is_killed_too(loop_name: str) -> None:
    flags = ("--workers", "2", "--admin", "127.0.0.1:0")
    async with proxy_process(loop_name, *flags) as proxy:
        assert "admin listener on" in await proxy.complaint()
        os.kill(proxy.workers()[2], signal.SIGSTOP)
        proxy.signal()
        line = "cmux-proxy: WARNING: the admin listener does not end, and is killed\n"
        assert await proxy.ended() == (0, line)


async def test_a_supervisor_without_a_descriptor_replaces_a_worker_when_it_has_one(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        before = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        victim = proxy.workers()[0]
        os.kill(victim, signal.SIGKILL)
        assert re.search(rf"\(pid {victim}\) was ended by signal 9", await proxy.complaint())
        line = "cmux-proxy: WARNING: worker 1 cannot start: Too many open files; "
        assert await proxy.complaint() == line + "retrying until it can"
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, before)
        async with asyncio.timeout(SOON):
            while len(proxy.workers()) < 2:  # noqa: ASYNC110 - nobody says when
                await asyncio.sleep(0)
        for _ in range(16):
            await serves(proxy)
        await proxy.stop()
