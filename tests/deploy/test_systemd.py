"""deploy/systemd: systemd accepts the units, they are hardened, and the proxy runs with them.

systemd itself does not run here: systemd-socket-activate passes sockets, and strace finds the
system calls that the filter would refuse.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from cmux_proxy.config.options import FLAGS
from cmux_proxy.config.sections import Timeouts
from tests.helpers.loops import loop_flags
from tests.helpers.origins import http_response, origin, responding
from tests.helpers.proxies import MODULE, environment, is_served, proxy_process
from tests.helpers.script import head
from tests.helpers.systemd import Systemd
from tests.helpers.timing import LATER, later
from tests.helpers.tools import tool, wait_for_output
from tests.helpers.wire import Wire, closed_port

ROOT: Final = Path(__file__).parent.parent.parent / "deploy" / "systemd"
SERVICES: Final = ["cmux-proxy.service", "cmux-proxy@.service"]
PROGRAM: Final = "/opt/cmux-proxy/bin/cmux-proxy"

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="it is not part of the package")


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit, with the values of each setting in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(match[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


def analyze(*arguments: str) -> str:
    """Run systemd-analyze and return what it prints; fail if it complains."""
    done = subprocess.run(
        [tool("systemd-analyze"), *arguments],
        capture_output=True, text=True, check=False, timeout=LATER,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def installed(folder: Path) -> list[str]:
    """Copy the units into a folder, with an existing program; return their paths."""
    paths = []
    for path in ROOT.iterdir():
        copy = folder / path.name.replace("@.", "@a.")
        copy.write_text(path.read_text("utf-8").replace(PROGRAM, sys.executable))
        paths.append(str(copy))
    return paths


# The units


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert analyze("verify", "--man=no", *installed(tmp_path)) == ""


def test_a_setting_that_systemd_does_not_know_is_found(tmp_path: Path) -> None:
    paths = installed(tmp_path)
    with open(paths[0], "a", encoding="utf-8") as file:
        file.write("\n[Unit]\nProtectEverything=yes\n")
    with pytest.raises(AssertionError, match="ProtectEverything"):
        analyze("verify", "--man=no", *paths)


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_finds_that_the_service_has_few_privileges(name: str, tmp_path: Path) -> None:
    installed(tmp_path)
    report = analyze("security", "--offline=true", str(tmp_path / name.replace("@.", "@a.")))
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+) OK", report)
    assert match is not None, report
    assert float(match[1]) <= 1.5


def test_both_services_are_the_same_except_for_the_sockets() -> None:
    single, instance = map(unit, SERVICES)
    assert instance["Service"].pop("Sockets") == ["cmux-proxy.socket"]
    assert (single["Service"], single["Install"]) == (instance["Service"], instance["Install"])
    for service in (single, instance):
        assert service["Unit"]["Requires"] == ["cmux-proxy.socket"]


@pytest.mark.parametrize("name", SERVICES)
def test_the_service_has_no_addresses_and_has_time_to_drain(name: str) -> None:
    service = unit(name)["Service"]
    assert service["Type"] == ["notify"]
    assert service["ExecStart"] == [PROGRAM]
    assert float(service["TimeoutStopSec"][0]) > Timeouts().drain


@pytest.mark.parametrize("name", [path.name for path in ROOT.glob("*")])
def test_named_variables_exist(name: str) -> None:
    named = set(re.findall(r"\bCMUX_[A-Z_]+", (ROOT / name).read_text("utf-8")))
    assert named <= {flag.variable for flag in FLAGS}


# The filter of system calls


@cache
def system_calls(group: str) -> frozenset[str]:
    """Return the calls of one of systemd's groups, including nested groups."""
    calls: set[str] = set()
    for line in analyze("syscall-filter", group).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= system_calls(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return frozenset(calls)


def allowed() -> frozenset[str]:
    [first, second] = unit("cmux-proxy.service")["Service"]["SystemCallFilter"]
    assert second.startswith("~")
    refused = [system_calls(group) for group in second[1:].split()]
    return system_calls(first).difference(*refused)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_all_its_system_calls_are_allowed(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    within = (tool("strace"), "-f", "-qq", "-o", str(log))
    with Systemd.at(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
        flags = ("--workers", workers, "--upstream-host", "localhost")
        async with (
            origin(responding(lambda _: http_response(bytes(1_000_000)))) as upstream,
            proxy_process(loop_name, *flags, variables=variables, within=within) as proxy,
        ):
            with await Wire.to("127.0.0.1", proxy.port) as client:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                await client.send(head("GET / HTTP/1.1", "Host: a", route, "Connection: close"))
                assert len(await later(client.receive_all())) > 1_000_000
            while "WATCHDOG=1" not in await systemd.receive():
                pass
            # strace forwards no signals; it is the parent of the proxy.
            os.kill(proxy.workers()[0], signal.SIGTERM)
            await proxy.drains()
    calls = set(re.findall(r"^[0-9]+ +(\w+)\(", log.read_text("utf-8"), re.MULTILINE))
    assert {"accept4", "connect", "sendto"} <= calls
    # Called where much data arrives at once, which may not happen here.
    calls.add("splice")
    # The limit on descriptors, which LimitNOFILE= sets for the service.
    assert calls - allowed() <= {"setrlimit"}


# Socket activation


@asynccontextmanager
async def activated(
    loop_name: str, *flags: str, listen: Sequence[str], systemd: Systemd
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run systemd-socket-activate, which starts the proxy at the first connection."""
    sockets = [f"--listen={address}" for address in listen]
    variables = {"PYTHONUNBUFFERED": "1", "NOTIFY_SOCKET": systemd.address}
    settings = [f"--setenv={name}={value}" for name, value in variables.items()]
    command = [tool("systemd-socket-activate"), *sockets, *settings]
    process = await asyncio.create_subprocess_exec(
        *command, *MODULE, *loop_flags(loop_name), *flags,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await later(process.communicate())


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_first_client_starts_the_proxy_and_is_served(
    loop_name: str, workers: str, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    with closed_port() as port:
        pass
    listen = [f"127.0.0.1:{port}", str(path)]
    with Systemd.at(tmp_path) as systemd:
        flags = ("--workers", workers)
        async with activated(loop_name, *flags, listen=listen, systemd=systemd) as process:
            await wait_for_output(process, r"(Listening on .*proxy\.sock)")
            with await Wire.to("127.0.0.1", port) as first, await Wire.to_path(str(path)) as second:
                await is_served(first)
                await is_served(second)
            status = f"STATUS=listening on 127.0.0.1:{port}, unix:{path}"
            assert await systemd.receive() == ["READY=1", status]
            process.send_signal(signal.SIGTERM)
            assert await systemd.receive() == ["STOPPING=1", "STATUS=draining"]
            assert await later(process.wait()) == 0
        # The file belongs to systemd.
        assert path.exists()
