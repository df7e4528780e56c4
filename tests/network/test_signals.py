"""Signals to a running proxy (contract, section 8)."""

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

from tests.helpers.loops import loop_flags, loop_settings
from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import MODULE, ProxyProcess, environment, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import SOON, later
from tests.helpers.wire import Wire

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


async def serves(proxy: ProxyProcess) -> None:
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        await is_served(wire)


# Standard error without a reader


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Yield the writing end of a full pipe without a reader."""
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
async def proxy_with_full_stderr(*flags: str) -> AsyncIterator[ProxyProcess]:
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
async def test_a_drain_does_not_wait_for_the_reader_of_standard_error(
    loop_name: str, workers: str
) -> None:
    async with proxy_with_full_stderr(
        *loop_flags(loop_name), "--workers", workers, "--drain-timeout", "0"
    ) as proxy:
        for _ in range(8):
            await serves(proxy)
        proxy.signal(signal.SIGUSR1)
        await serves(proxy)
        if workers == "2":
            os.kill(proxy.workers()[0], signal.SIGKILL)
        proxy.signal()
        assert await later(proxy.status()) in (0, 128 + signal.SIGKILL)


BLOCKED = """
import os, signal
from cmux_proxy import Config, run
def block(addresses, loop):
    print("cmux-proxy blocks", flush=True)
    while True:
        {work}
run(Config(listen=["127.0.0.1:0"], **{settings!r}), block)
"""


@pytest.mark.hosting
@pytest.mark.parametrize(
    "work", ["os.read(0, 1)", "pass", "os.write(int(os.environ['FULL']), b'x' * 4096)"],
    ids=["reads", "computes", "writes"],
)  # fmt: skip
async def test_a_second_signal_ends_a_process_whose_loop_is_blocked(
    loop_name: str, work: str
) -> None:
    reading, writing = os.pipe()
    with full_pipe() as full:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BLOCKED.format(settings=loop_settings(loop_name), work=work)),
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
            await signal_received(proxy, signal.SIGTERM)
            proxy.signal(signal.SIGINT)
            # Python handles signals that it finds together in the order of their numbers.
            status, errors = await proxy.ended()
            assert (status - 128 in (signal.SIGINT, signal.SIGTERM), errors) == (True, "")
        finally:
            proxy.kill()
            os.close(reading)
            os.close(writing)


def is_pending(pid: int, number: int) -> bool:
    """Return whether a signal is still pending for its process."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


async def signal_received(proxy: ProxyProcess, number: int) -> None:
    """Wait until a signal has reached its process."""
    async with asyncio.timeout(SOON):
        while is_pending(proxy.pid, number):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


# SIGHUP and unused signals


async def logs_unused(proxy: ProxyProcess, pid: int, number: signal.Signals) -> None:
    """Send a signal to one of the proxy's processes; check that it logs that it ignores it."""
    os.kill(pid, number)
    line = f"cmux-proxy: WARNING: {number.name} has no meaning here and is ignored"
    assert await proxy.error_line() == line


@WORKERS
@pytest.mark.hosting
async def test_sighup_drains_where_there_is_no_file_to_reload(loop_name: str, workers: str) -> None:
    async with proxy_process(loop_name, "--workers", workers) as proxy:
        proxy.signal(signal.SIGHUP)
        await proxy.drains()


@WORKERS
async def test_sighup_that_is_ignored_at_the_start_stays_ignored(
    loop_name: str, workers: str
) -> None:
    within = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    async with proxy_process(loop_name, "--workers", workers, within=within) as proxy:
        processes = (proxy.pid, *proxy.workers())
        for pid in processes:
            os.kill(pid, signal.SIGHUP)
        # A process that drains no longer accepts connections when it logs the second of these
        # signals: the first one may be logged before the drain begins.
        for pid in processes * 2:
            await logs_unused(proxy, pid, signal.SIGUSR1)
        await serves(proxy)
        await proxy.stop()


async def request_with(proxy: ProxyProcess, port: int, token: str) -> bytes:
    """Send a request with a token; return the start of the status line."""
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        route = f"X-Cmux-Port-Internal: {port}"
        await wire.send(head("GET / HTTP/1.1", "Host: a", route, f"X-Cmux-Token: {token}"))
        return (await later(wire.receive()))[:12]


async def request_admin_with(port: int, token: str) -> bytes:
    """Send the admin listener a request with a token; return the start of the status line."""
    with await Wire.to("127.0.0.1", port) as wire:
        await wire.send(
            head("GET /activity HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}")
        )
        return (await later(wire.receive()))[:12]


@WORKERS
@pytest.mark.hosting
async def test_sighup_reloads_the_tokens(loop_name: str, workers: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n")
    file.chmod(0o600)
    flags = ("--workers", workers, "--auth-token-file", str(file), "--admin", "127.0.0.1:0")
    # With several workers the admin listener has a process of its own.
    processes = 1 if workers == "1" else 3
    async with (
        origin(responding(lambda _request: http_response(b"hello"))) as upstream,
        proxy_process(loop_name, *flags) as proxy,
    ):
        admin = int((await proxy.error_line()).rpartition(":")[2])
        assert await request_with(proxy, upstream.port, "old") == b"HTTP/1.1 200"
        assert await request_admin_with(admin, "old") != b"HTTP/1.1 401"
        file.write_text("new\nnewer\n")
        proxy.signal(signal.SIGHUP)
        for _ in range(processes):
            assert await proxy.error_line() == "cmux-proxy: INFO: tokens reloaded: 2"
        for token, status in (("old", b"401"), ("new", b"200"), ("newer", b"200")):
            # Enough requests that every worker gets one.
            for _ in range(16):
                assert await request_with(proxy, upstream.port, token) == b"HTTP/1.1 " + status
            assert (await request_admin_with(admin, token) == b"HTTP/1.1 401") is (token == "old")
        file.write_text("# none\n")
        proxy.signal(signal.SIGHUP)
        for _ in range(processes):
            assert await proxy.error_line() == (
                "cmux-proxy: WARNING: cannot reload the tokens, the old ones stay valid: "
                f"{file}: '{file}' has no token in it"
            )
        assert await request_with(proxy, upstream.port, "new") == b"HTTP/1.1 200"
        await proxy.stop()


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
async def test_an_unused_signal_is_logged(
    loop_name: str, workers: str, number: signal.Signals
) -> None:
    async with proxy_process(loop_name, "--workers", workers) as proxy:
        for pid in (proxy.pid, *proxy.workers()):
            await logs_unused(proxy, pid, number)
        await serves(proxy)
        await proxy.stop()


# Suspended workers, and a supervisor without descriptors


async def test_a_suspended_worker_is_killed_after_the_drain_timeout(loop_name: str) -> None:
    flags = ("--workers", "2", "--drain-timeout", "10ms", "--admin", "127.0.0.1:0")
    async with proxy_process(loop_name, *flags) as proxy:
        assert "admin listener on" in await proxy.error_line()
        os.kill(proxy.workers()[0], signal.SIGSTOP)
        proxy.signal()
        status, errors = await proxy.ended()
        assert status == 128 + signal.SIGKILL
        assert errors == "cmux-proxy: WARNING: worker 1 does not end, and is killed\n"


async def test_a_suspended_admin_process_is_killed_too(loop_name: str) -> None:
    flags = ("--workers", "2", "--admin", "127.0.0.1:0")
    async with proxy_process(loop_name, *flags) as proxy:
        assert "admin listener on" in await proxy.error_line()
        os.kill(proxy.workers()[2], signal.SIGSTOP)
        proxy.signal()
        line = "cmux-proxy: WARNING: the admin listener does not end, and is killed\n"
        assert await proxy.ended() == (0, line)


async def test_a_supervisor_without_descriptors_replaces_a_worker_later(
    loop_name: str,
) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        limits = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        victim = proxy.workers()[0]
        os.kill(victim, signal.SIGKILL)
        assert re.search(rf"\(pid {victim}\) was ended by signal 9", await proxy.error_line())
        line = "cmux-proxy: WARNING: worker 1 cannot start: Too many open files; "
        assert await proxy.error_line() == line + "retrying until it can"
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, limits)
        async with asyncio.timeout(SOON):
            while len(proxy.workers()) < 2:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
        for _ in range(16):
            await serves(proxy)
        await proxy.stop()
