"""Machines for a test: network namespaces on one switch, which reach nothing else.

    async with network() as net:
        machine = await net.join("10.99.0.11")
        listener = machine.inside(lambda: WireListener("10.99.0.11", 3000))

A namespace has no name and ends when no process holds it open, so that nothing is left behind.
It needs root; otherwise the test is skipped, or fails where CI is true.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from tests.helpers.timing import later
from tests.helpers.tools import finish, missing, tool

# The address of a network's name server.
NAME_SERVER: Final = "10.99.0.1"
_NETWORK_NAMESPACE: Final = 0x40000000

T = TypeVar("T")


class Namespace:
    """An empty network namespace."""

    def __init__(self) -> None:
        self._descriptor = _run_in_thread(_open_new_namespace)

    def inside(self, work: Callable[[], T]) -> T:
        """Call `work` in the namespace; sockets that it opens stay there."""

        def enter() -> T:
            _call("setns", self._descriptor, _NETWORK_NAMESPACE)
            return work()

        return _run_in_thread(enter)

    @property
    def path(self) -> str:
        """The path with which other processes open it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command there."""
        return [tool("nsenter"), f"--net={self.path}", *command]

    async def set_up(self, *lines: str) -> None:
        """Run commands of `ip` there."""
        done = await finish(
            *self.command(tool("ip"), "-batch", "-"), stdin="\n".join(lines).encode()
        )
        assert done.status == 0, done.errors

    def close(self) -> None:
        """Close it; it ends with its last socket and process."""
        os.close(self._descriptor)


class Network:
    """A switch in a namespace, and the machines on it."""

    def __init__(self) -> None:
        self.switch = Namespace()
        self._machines: list[Namespace] = []

    async def start(self) -> None:
        """Set up the switch."""
        await self.switch.set_up(
            "link set lo up",
            # Otherwise it has the address of a port, which changes whenever a machine joins or
            # leaves, and queries that are on the wire would be lost.
            "link add switch address 02:00:00:00:00:01 type bridge",
            f"addr add {NAME_SERVER}/24 dev switch",
            "link set switch up",
        )

    async def join(self, address: str) -> Namespace:
        """Return a new machine that has this address."""
        machine = Namespace()
        self._machines.append(machine)
        port = _port(address)
        await self.switch.set_up(
            f"link add {port} type veth peer name eth0 netns {machine.path}",
            f"link set {port} master switch up",
        )
        await machine.set_up(
            "link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up"
        )
        return machine

    async def unplug(self, address: str) -> None:
        """Unplug a machine: no packet of it arrives any more, not even a reset."""
        await self.switch.set_up(f"link set {_port(address)} down")

    def close(self) -> None:
        """Close all namespaces."""
        for machine in [*self._machines, self.switch]:
            machine.close()


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """Set up a network for one test."""
    try:
        created = Network()
    except PermissionError:
        missing("network namespaces need root")
    with contextlib.closing(created) as net:
        await net.start()
        yield net


class NameServer:
    """A running dnsmasq that knows the given records only."""

    def __init__(self, process: asyncio.subprocess.Process, hosts: Path) -> None:
        self._process = process
        self._hosts = hosts

    async def wait_until_loaded(self) -> None:
        """Wait until it has read its records."""
        assert self._process.stderr is not None
        while b": read " not in (line := await later(self._process.stderr.readline())):
            assert line, "dnsmasq did not start"

    async def replace_records(self, records: Mapping[str, Sequence[str]]) -> None:
        """Replace the names and their addresses."""
        _write(self._hosts, records)
        self._process.send_signal(signal.SIGHUP)
        await self.wait_until_loaded()

    def freeze(self) -> None:
        """Suspend it, so that it does not answer."""
        self._process.send_signal(signal.SIGSTOP)


@contextlib.asynccontextmanager
async def name_server(
    net: Network, folder: Path, records: Mapping[str, Sequence[str]]
) -> AsyncIterator[NameServer]:
    """Run a name server on the network's switch."""
    hosts = folder / "hosts"
    _write(hosts, records)
    process = await asyncio.create_subprocess_exec(
        *net.switch.command(tool("dnsmasq"), "--keep-in-foreground", "--log-facility=-"),
        *("--conf-file=/dev/null", "--pid-file", "--user=root", "--group=root"),
        *("--no-resolv", "--no-poll", "--no-hosts", f"--addn-hosts={hosts}", "--local=/test/"),
        *(f"--listen-address={NAME_SERVER}", "--bind-interfaces"),
        stderr=asyncio.subprocess.PIPE,
    )
    server = NameServer(process, hosts)
    try:
        await server.wait_until_loaded()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await later(process.communicate())


def with_name_server(name_server: str, folder: Path) -> list[str]:
    """Return a command prefix that uses this name server, with elsewhere.test as search domain."""
    file = folder / "resolv.conf"
    file.write_text(f"nameserver {name_server}\nsearch elsewhere.test\noptions timeout:3\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return [tool("unshare"), "--mount", tool("sh"), "-c", script, str(file)]


def _write(hosts: Path, records: Mapping[str, Sequence[str]]) -> None:
    hosts.write_text(
        "".join(
            f"{address} {name}\n" for name, addresses in records.items() for address in addresses
        )
    )


def _port(address: str) -> str:
    return f"port{address.rpartition('.')[2]}"


def _run_in_thread(work: Callable[[], T]) -> T:
    """Call `work` in a new thread, which has its own namespace."""
    results: list[T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            results.append(work())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _open_new_namespace() -> int:
    _call("unshare", _NETWORK_NAMESPACE)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(name: str, *arguments: int) -> None:
    # Python has these two since 3.12.
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
