"""The access log of the command: what is logged, where to, and log rotation."""

import asyncio
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import ProxyProcess, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.timing import SOON, later
from tests.helpers.wire import Wire, closed_port
from tests.network.test_admin import administered

GREETING = http_response(b"hello")
# The default, which proxy_process changes.
DEFAULTS = {"CMUX_ACCESS_LOG": "errors"}


async def ask(proxy: ProxyProcess, port: int, target: str, *fields: str) -> bytes:
    """Send a GET request for a port on a new connection; return the status line."""
    with await Wire.to("127.0.0.1", proxy.port) as wire:
        route = f"X-Cmux-Port-Internal: {port}"
        close = "Connection: close"
        await wire.send(head(f"GET {target} HTTP/1.1", "Host: a", route, close, *fields))
        return (await later(wire.receive_all())).split(b"\r\n")[0]


async def lines_of(proxy: ProxyProcess) -> list[str]:
    """Drain the proxy; return the lines that it wrote to standard error."""
    proxy.signal()
    status, errors = await proxy.ended()
    assert status == 0
    return errors.splitlines()


async def test_errors_are_logged_by_default(loop_name: str) -> None:
    async with (
        proxy_process(loop_name, variables=DEFAULTS) as proxy,
        origin(responding(lambda _request: GREETING)) as upstream,
    ):
        await ask(proxy, upstream.port, "/fine")
        with closed_port() as port:
            assert await ask(proxy, port, "/a?q=1") == b"HTTP/1.1 502 Bad Gateway"
        [line] = await lines_of(proxy)
    at, *parts = line.split()
    assert at.startswith("20")
    assert parts[:5] == ["127.0.0.1", "request", "GET", "/a", "502"]
    assert f"port={port}" in parts
    assert f"upstream=127.0.0.1:{port}" in parts
    assert parts[-1] == "error=connection_refused"


async def test_all_logs_every_exchange_and_no_secret(loop_name: str) -> None:
    flags = ("--access-log", "all", "--log-format", "json")
    variables = {"CMUX_AUTH_TOKEN": "hush-1"}
    async with (
        proxy_process(loop_name, *flags, variables=variables) as proxy,
        origin(responding(lambda _request: GREETING)) as upstream,
    ):
        secrets = ("X-Cmux-Token: hush-1", "Cookie: hush=2", "Referer: http://a/?hush=3")
        await ask(proxy, upstream.port, "/a?hush=4", *secrets)
        await ask(proxy, upstream.port, "/b?hush=5", "X-Cmux-Token: hush-6")
        lines = await lines_of(proxy)
    assert "hush" not in "".join(lines)
    logged = [json.loads(line) for line in lines]
    assert [(entry["path"], entry["status"], entry["port"]) for entry in logged] == [
        ("/a", 200, upstream.port), ("/b", 401, None),
    ]  # fmt: skip
    assert logged[0]["bytes_out"] == len(GREETING)


async def test_a_long_path_is_cut(loop_name: str) -> None:
    flags = ("--access-log", "all", "--log-format", "json")
    async with (
        proxy_process(loop_name, *flags) as proxy,
        origin(responding(lambda _request: GREETING)) as upstream,
    ):
        await ask(proxy, upstream.port, "/" + "a" * 9000)
        [line] = await lines_of(proxy)
    assert json.loads(line)["path"] == "/" + "a" * 2044 + "..."


async def test_off_logs_nothing(loop_name: str) -> None:
    async with proxy_process(loop_name, "--access-log", "off") as proxy:
        with closed_port() as port:
            await ask(proxy, port, "/")
        await proxy.stop()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_file_is_opened_again_on_sighup(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    flags = ("--access-log", "all", "--access-log-file", str(path), "--workers", workers)
    async with proxy_process(loop_name, *flags) as proxy:
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await serves_until_logged(wire, path)
            os.replace(path, tmp_path / "old")
            proxy.signal(signal.SIGHUP)
            await serves_until_logged(wire, path)
        await proxy.stop()
    assert text_of(tmp_path / "old").endswith("error=http_request_error\n")
    assert text_of(path).endswith("error=http_request_error\n")


async def test_a_line_is_written_without_further_requests(loop_name: str, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    flags = ("--access-log", "all", "--access-log-file", str(path))
    async with proxy_process(loop_name, *flags) as proxy:
        for count in (1, 2):
            with await Wire.to("127.0.0.1", proxy.port) as wire:
                await is_served(wire)
            await has_lines(path, count)
        await proxy.stop()


async def test_lines_of_two_workers_do_not_mix_and_a_drain_writes_all(loop_name: str) -> None:
    flags = ("--access-log", "all", "--log-format", "json", "--workers", "2")
    async with (
        proxy_process(loop_name, *flags) as proxy,
        origin(responding(lambda _request: GREETING)) as upstream,
    ):

        async def ask_often(client: int) -> None:
            for number in range(25):
                path = f"/{client}/{number}/{'a' * (1500 * (number % 2))}"
                # Each of the quotes is two bytes of a line.
                await ask(proxy, upstream.port, path.ljust(2000, '"'))

        await asyncio.gather(*(ask_often(client) for client in range(8)))
        logged = [json.loads(line) for line in await lines_of(proxy) if line.startswith("{")]
    order = [entry["path"].split("/")[1:3] for entry in logged]
    assert sorted(order) == sorted([str(c), str(n)] for c in range(8) for n in range(25))


async def serves_until_logged(wire: Wire, path: Path) -> None:
    """Send requests until a line is logged."""
    async with asyncio.timeout(SOON):
        while not text_of(path):
            await is_served(wire)


async def has_lines(path: Path, count: int) -> None:
    """Wait until a file has so many lines."""
    async with asyncio.timeout(SOON):
        while True:
            if text_of(path).count("\n") >= count:
                return
            await asyncio.sleep(0)


def text_of(path: Path) -> str:
    """Return the text of a file, "" if it does not exist."""
    return path.read_text() if path.exists() else ""


async def test_a_file_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        async with proxy_process("auto", "--access-log-file", str(tmp_path), variables=DEFAULTS):
            pass
    assert "Invalid value for '--access-log-file'" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sighup_does_not_drain_where_a_file_is_set_and_the_log_is_off(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    flags = ("--access-log", "off", "--access-log-file", str(tmp_path / "log"))
    async with proxy_process(loop_name, *flags, "--workers", workers) as proxy:
        proxy.signal(signal.SIGHUP)
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await is_served(wire)
        await proxy.stop()


@pytest.mark.parametrize("workers", [1, 2])
async def test_lines_lost_to_a_full_disk_are_counted_and_reported_when_there_is_room(
    loop_name: str, workers: int, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    flags = ("--access-log", "all", "--access-log-file", str(path))
    within = ("sh", "-c", 'ulimit -S -f 0; exec "$@"', "sh")
    async with administered(loop_name, workers, *flags, within=within) as (proxy, session):
        with await Wire.to("127.0.0.1", proxy.port) as wire:
            await is_served(wire)
            failing = await proxy.error_line()
            assert failing.endswith("the access log cannot be written: [Errno 27] File too large")
            for pid in (proxy.pid, *proxy.workers()):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            await serves_until_logged(wire, path)
            working = await proxy.error_line()
        lost = int(working.rpartition("; lines lost: ")[2])
        assert lost >= 1
        assert f" {lost} lines are missing here" in f" {text_of(path)}"
        name = 'cmux_proxy_access_log_lines_lost_total{reason="write_failed"}'
        async with session.get("/metrics") as response:
            assert f"{name} {lost}.0" in await response.text()
        await proxy.stop()
