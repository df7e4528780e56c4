"""The outbound network of a workspace, on a machine that has one address and one nameserver.

The machine is a namespace too, so that no packet leaves the machine that runs the tests.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy.isolation import outbound
from tests.helpers.proxies import MODULE, environment
from tests.helpers.timing import LATER
from tests.helpers.tools import tool
from tests.helpers.workspaces import (
    ending,
    finish_quietly,
    holder_pid,
    in_workspace,
    need_namespaces,
    running,
)

# A machine with 192.0.2.1 and a nameserver on 127.0.0.53, which knows one name.
MACHINE = """
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip route add default dev lo
mount --bind "$1" /etc/resolv.conf
shift
exec "$@"
"""
SERVE = """
import socket, subprocess, sys, threading

def resolve(sock):
    while True:
        query, client = sock.recvfrom(512)
        is_address = query[-4:-2] == b"\\0\\1"
        answer = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]) * is_address
        counts = bytes([0, 1, 0, is_address, 0, 0, 0, 0])
        end = query.index(b"\\0", 12) + 5
        sock.sendto(query[:2] + b"\\x81\\x80" + counts + query[12:end] + answer, client)

def greet(listener):
    while True:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"outside")

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.53", 53))
threading.Thread(target=resolve, args=(names,), daemon=True).start()
for address in ("192.0.2.1", "127.0.0.1"):
    listener = socket.create_server((address, 8000))
    threading.Thread(target=greet, args=(listener,), daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
CONNECT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], 8000), timeout=float(sys.argv[2])) as sock:
        print(sock.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""


def on_a_machine(tmp_path: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command on the machine to its end."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    need_namespaces(())
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.53\noptions attempts:1 timeout:5\n")
    machine = [tool("unshare"), "--net", "--mount", "sh", "-ec", MACHINE, "sh", str(resolv_conf)]
    return finish_quietly([*machine, sys.executable, "-c", SERVE, *command])


def need_slirp4netns() -> None:
    """Skip the test where the program is not installed; fail in CI."""
    tool(outbound.PROGRAM)
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("there is no /dev/net/tun")


def connecting(host: str) -> list[str]:
    return [sys.executable, "-c", CONNECT, host, str(LATER)]


@pytest.mark.parametrize("host", ["192.0.2.1", "name.test"])
def test_the_machine_and_its_names_are_reachable_from_inside(
    registry: Path, prefix: tuple[str, ...], tmp_path: Path, host: str
) -> None:
    need_slirp4netns()
    done = on_a_machine(tmp_path, *in_workspace("a-1", *connecting(host), prefix=prefix, flags=()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "outside\n", "")


def test_the_loopback_of_the_machine_is_not_reachable(registry: Path, tmp_path: Path) -> None:
    need_slirp4netns()
    for host in ("127.0.0.1", "10.0.2.2"):
        done = on_a_machine(tmp_path, *in_workspace("a-1", *connecting(host), flags=()))
        assert done.stdout.strip() in ("ConnectionRefusedError", "OSError", "TimeoutError"), done


def test_without_outbound_only_the_loopback_is_reachable(registry: Path, tmp_path: Path) -> None:
    done = on_a_machine(tmp_path, *in_workspace("a-1", *connecting("192.0.2.1")))
    assert (done.stdout, done.stderr) == ("OSError\n", "")


def test_the_program_ends_when_its_holder_exits_or_is_killed(registry: Path) -> None:
    need_slirp4netns()
    need_namespaces(())
    for number in (None, signal.SIGKILL):
        with running("a-1", "sleep", "600", flags=()) as process:
            pid = holder_pid(registry)
            (program,) = processes_with(f"/proc/{pid}/ns/net")
            with ending(program), ending(pid):
                if number is None:
                    process.kill()
                else:
                    os.kill(pid, number)


def processes_with(argument: str) -> list[int]:
    """Return the ids of the processes that have this argument on their command line."""
    pids = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{name}/cmdline").read_text("utf-8").split("\0")
            if argument in arguments:
                pids.append(int(name))
    return pids


@pytest.mark.parametrize(
    ("program", "problem"),
    [(None, "slirp4netns is not installed"), ("exit 1", "slirp4netns has failed")],
    ids=["missing", "failing"],
)
def test_without_outbound_network_a_warning_is_printed_and_the_command_runs(
    registry: Path, tmp_path: Path, program: str | None, problem: str
) -> None:
    need_namespaces(())
    if program is not None:
        (tmp_path / outbound.PROGRAM).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / outbound.PROGRAM).chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    command = [*MODULE, "run", "--workspace", "a-1", "sh", "-c", "echo run"]
    done = subprocess.run(
        command, env={**environment(), "PATH": str(tmp_path)},
        capture_output=True, text=True, timeout=LATER, check=False,
    )  # fmt: skip
    warning = f"this workspace has only the loopback: {problem} (--no-outbound)"
    assert (done.stdout, done.stderr) == ("run\n", f"cmux-proxy: WARNING: {warning}\n")


SERVED = """
"$1" -m cmux_proxy --listen "$2" --log-level error >/dev/null &
"$1" -m cmux_proxy wait 8080 --timeout 30s
shift 2
"$@"
status=$?
kill $!
wait $!
exit $status
"""


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "192.0.2.1:8080,127.0.0.1:8080"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_proxy_that_is_reachable_from_inside_is_named_in_a_warning(
    registry: Path, tmp_path: Path, listen: str, is_first: bool
) -> None:
    need_slirp4netns()
    command = in_workspace("a-1", "echo", "run", flags=())
    if not is_first:
        command = in_workspace("a-1", *in_workspace("a-1", "echo", "run", flags=()), flags=())
    served = ["sh", "-c", SERVED, "sh", sys.executable, listen, *command]
    done = on_a_machine(tmp_path, *served)
    assert (done.returncode, done.stdout) == (0, "run\n"), done.stderr
    # Once, by the first command of the workspace.
    address = listen.partition(",")[0]
    assert done.stderr == (
        "cmux-proxy: WARNING: this workspace reaches the loopback of the machine through the proxy "
        f"on {address}: let the proxy listen on 127.0.0.1 or require a token, "
        "or use --no-outbound\n"
    )


def test_no_warning_for_a_proxy_on_the_loopback_or_without_outbound(
    registry: Path, tmp_path: Path
) -> None:
    need_slirp4netns()
    for listen, flags in [("127.0.0.1:8080", ()), ("0.0.0.0:8080", ("--no-outbound",))]:
        command = in_workspace("a-1", "echo", "run", flags=flags)
        served = ["sh", "-c", SERVED, "sh", sys.executable, listen, *command]
        done = on_a_machine(tmp_path, *served)
        assert (done.returncode, done.stdout, done.stderr) == (0, "run\n", "")
