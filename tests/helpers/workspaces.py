"""Isolated workspaces for tests: commands that run in them, in a registry of the test's own.

A conftest that imports `registry` and `way` gives its directory's tests both fixtures.
"""

import contextlib
import functools
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from cmux_proxy.isolation.messages import receive, send
from cmux_proxy.isolation.registry import Registry
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER
from tests.helpers.tools import tool
from tests.helpers.wire import WireListener

# Commands get there as root, or as somebody who may not make a network namespace by himself.
WAYS: Final = {
    "as root": (),
    "in a user namespace": ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"),
}
_PROBE: Final = "from cmux_proxy.isolation.namespace import make_namespace; make_namespace()"
_LISTEN: Final = """
import signal, socket, sys
host, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.create_server((host, int(port)), family=family):
    print("listening", flush=True)
    signal.pause()
"""
_ENTERED: Final = ("sh", "-c", 'echo entered; exec "$@"', "sh")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test, and what it runs, a registry of its own; return its directory."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "cmux-proxy")
        for pid in keepers(folder):
            with ending(pid):
                pass


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return what stands before a command, so that it is run in one way and in the other."""
    chosen = WAYS[request.param]
    if not chosen and os.geteuid() != 0:
        pytest.skip("not root")
    need_namespaces(chosen)
    return chosen


@functools.cache
def need_namespaces(way: tuple[str, ...] = ()) -> None:
    """Skip the test where namespaces cannot be made; in CI fail."""
    for program in way[:1]:
        tool(program)
    probe = [*way, sys.executable, "-c", _PROBE]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=LATER, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2]
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def in_workspace(
    name: str, *command: str, way: Sequence[str] = (), flags: Sequence[str] = ("--no-outbound",)
) -> list[str]:
    """Return the command line that runs a command in a workspace."""
    return [*way, *MODULE, "run", *flags, "--workspace", name, "--", *command]


def run(
    name: str, *command: str, way: Sequence[str] = (), **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a workspace to its end."""
    return finish_quietly(in_workspace(name, *command, way=way), **options)


def finish_quietly(command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, whatever its status."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LATER, check=False,
        env=environment(), **options,
    )  # fmt: skip


@contextlib.contextmanager
def running(
    name: str,
    *command: str,
    way: Sequence[str] = (),
    flags: Sequence[str] = ("--no-outbound",),
    **options: Any,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command in a workspace meanwhile; by now it has entered."""
    process = subprocess.Popen(
        in_workspace(name, *_ENTERED, *command, way=way, flags=flags),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(),
        **options,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"entered\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def serving(
    name: str, host: str, port: int, way: Sequence[str] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    """Have a process listen in a workspace meanwhile."""
    with running(name, sys.executable, "-c", _LISTEN, host, str(port), way=way) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield process


def listed() -> list[list[str]]:
    """Return the rows that `cmux-proxy workspaces` prints, without the titles."""
    done = finish_quietly([*MODULE, "workspaces"])
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split(maxsplit=4) for line in done.stdout.splitlines()[1:]]


def keepers(folder: str) -> list[int]:
    """Return the ids of the keepers of a registry."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if _is_keeper(pid, folder)]


def _is_keeper(pid: int, folder: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    is_ours = f"XDG_RUNTIME_DIR={folder}".encode() in variables
    return is_ours and b"cmux_proxy.isolation.holder" in words


def keeper(registry: Path) -> int:
    """Return the id of the only keeper."""
    (pid,) = keepers(str(registry.parent))
    return pid


@contextlib.contextmanager
def ending(pid: int) -> Iterator[None]:
    """Fail unless a process, which need not be a child, has ended soon after the block."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        yield
        return
    try:
        yield
        readable, _, _ = select.select([pidfd], [], [], LATER)
        if not readable:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert readable, "a keeper has outlived its commands"
    finally:
        os.close(pidfd)


def socket_inside(address: str, family: int = socket.AF_INET) -> socket.socket:
    """Return a socket of a workspace's namespace, which this process may use like any other."""
    with Registry.open() as registry:
        channel = registry.connect(address, LATER)
    assert channel is not None
    with channel:
        send(channel, {"ask": "socket", "family": family})
        (descriptor,) = receive(channel).descriptors
    return socket.socket(fileno=descriptor)


def listener_inside(address: str, host: str = "127.0.0.1", port: int = 0) -> WireListener:
    """Listen in a workspace."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return WireListener(host, port, sock=socket_inside(address, family))


def busybox() -> str:
    """Return the path of a busybox that is linked statically."""
    path = tool("busybox")
    ldd = shutil.which("ldd")
    if ldd is not None:
        done = subprocess.run([ldd, path], capture_output=True, text=True, check=False)
        assert "not a dynamic executable" in done.stderr + done.stdout
    return path
