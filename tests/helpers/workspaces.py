"""Isolated workspaces for tests: commands that run in them, with a registry for each test.

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

# Commands enter as root, or without the privilege to create a network namespace.
PREFIXES: Final = {
    "as root": (),
    "in a user namespace": ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"),
}
_PROBE: Final = "from cmux_proxy.isolation.namespace import create_namespace; create_namespace()"
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
    """Set up a registry for this test and its processes; return its directory."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "cmux-proxy")
        for pid in holder_pids(folder):
            with ending(pid):
                pass


@pytest.fixture(params=PREFIXES)
def prefix(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return a command prefix, which sets the privileges of the command."""
    chosen = PREFIXES[request.param]
    if not chosen and os.geteuid() != 0:
        pytest.skip("not root")
    need_namespaces(chosen)
    return chosen


@functools.cache
def need_namespaces(prefix: tuple[str, ...] = ()) -> None:
    """Skip the test where namespaces cannot be created; fail in CI."""
    for program in prefix[:1]:
        tool(program)
    probe = [*prefix, sys.executable, "-c", _PROBE]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=LATER, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2]
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def in_workspace(
    name: str, *command: str, prefix: Sequence[str] = (), flags: Sequence[str] = ("--no-outbound",)
) -> list[str]:
    """Return the command line that runs a command in a workspace."""
    return [*prefix, *MODULE, "run", *flags, "--workspace", name, "--", *command]


def run(
    name: str, *command: str, prefix: Sequence[str] = (), **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a workspace to its end."""
    return finish_quietly(in_workspace(name, *command, prefix=prefix), **options)


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
    prefix: Sequence[str] = (),
    flags: Sequence[str] = ("--no-outbound",),
    **options: Any,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command in a workspace during the block, which begins after the command has entered."""
    process = subprocess.Popen(
        in_workspace(name, *_ENTERED, *command, prefix=prefix, flags=flags),
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
    name: str, host: str, port: int, prefix: Sequence[str] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    """Have a process listen in a workspace during the block."""
    with running(name, sys.executable, "-c", _LISTEN, host, str(port), prefix=prefix) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield process


def listed() -> list[list[str]]:
    """Return the rows that `cmux-proxy workspaces` prints, without the titles."""
    done = finish_quietly([*MODULE, "workspaces"])
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split(maxsplit=4) for line in done.stdout.splitlines()[1:]]


def holder_pids(folder: str) -> list[int]:
    """Return the process ids of the holders of a registry."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if _is_holder(pid, folder)]


def _is_holder(pid: int, folder: str) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    is_ours = f"XDG_RUNTIME_DIR={folder}".encode() in variables
    return is_ours and b"cmux_proxy.isolation.holder" in arguments


def holder_pid(registry: Path) -> int:
    """Return the process id of the only holder."""
    (pid,) = holder_pids(str(registry.parent))
    return pid


@contextlib.contextmanager
def ending(pid: int) -> Iterator[None]:
    """Check that a process, which may not be a child, ends soon after the block."""
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
        assert readable, "the process has not ended"
    finally:
        os.close(pidfd)


def socket_inside(address: str, family: int = socket.AF_INET) -> socket.socket:
    """Return a socket of a workspace's namespace."""
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
    """Return the path of a statically linked busybox."""
    path = tool("busybox")
    ldd = shutil.which("ldd")
    if ldd is not None:
        done = subprocess.run([ldd, path], capture_output=True, text=True, check=False)
        assert "not a dynamic executable" in done.stderr + done.stdout
    return path
