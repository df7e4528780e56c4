"""Several workers on one set of addresses, as clients see them (contract, section 8)."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.helpers.loops import descriptors, io_of
from tests.helpers.origins import OriginConnection, http_response, origin, responding
from tests.helpers.proxies import (
    MODULE,
    ProxyProcess,
    environment,
    is_served,
    proxy_process,
    without_drain_lines,
)
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.tools import finish
from tests.helpers.wire import Wire

CLIENTS = 64
# Each of two workers gets half of the clients; that one gets fewer has a chance of 1 in a million.
MIN_SHARE = 12
GREETING = http_response(b"hello")


@contextlib.asynccontextmanager
async def clients(proxy: ProxyProcess, count: int = CLIENTS) -> AsyncIterator[list[Wire]]:
    """Connect this number of clients, and wait until a worker serves each of them."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(await Wire.to("127.0.0.1", proxy.port)) for _ in range(count)]
        for wire in wires:
            await is_served(wire)
        yield wires


async def request(proxy: ProxyProcess, port: int, *fields: str) -> Wire:
    """Return a client that has sent a request to a port."""
    wire = await Wire.to("127.0.0.1", proxy.port)
    route = f"X-Cmux-Port-Internal: {port}"
    await wire.send(head("GET / HTTP/1.1", "Host: a", route, *fields))
    return wire


def connections(pid: int, port: int) -> int:
    """Return how many connections to a port a process has."""
    return len(_inodes(pid) & _sockets(port, "01"))


def listening(pid: int, port: int) -> set[str]:
    """Return the sockets of a process that listen on a port, by their inodes."""
    return _inodes(pid) & _sockets(port, "0A")


def _inodes(pid: int) -> set[str]:
    matches = (re.fullmatch(r"socket:\[([0-9]+)\]", file) for file in descriptors(pid).values())
    return {match[1] for match in matches if match is not None}


def _sockets(port: int, state: str) -> set[str]:
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return {row[9] for row in rows if row[3] == state and row[1].endswith(f":{port:04X}")}


async def ended(pids: Sequence[int]) -> None:
    """Wait until processes have ended that are not children of this one."""
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, ended.set)
        try:
            await later(ended.wait())
        finally:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)


# Serving


@pytest.mark.hosting
async def test_each_worker_serves_its_share(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        assert proxy.announced[-1].endswith(f", {io_of(loop_name)}, 2 workers)")
        assert len(proxy.announced) == 2
        async with clients(proxy):
            shares = [connections(pid, proxy.port) for pid in proxy.workers()]
            assert len(shares) == 2
            assert sum(shares) == CLIENTS
            assert min(shares) >= MIN_SHARE
            assert connections(proxy.pid, proxy.port) == 0
        await proxy.stop()


async def test_auto_starts_a_worker_for_each_usable_cpu(loop_name: str) -> None:
    count = len(os.sched_getaffinity(0))
    async with proxy_process(loop_name, "--workers", "auto") as proxy:
        assert len(proxy.workers()) == (count if count > 1 else 0)
        await proxy.stop()


async def test_one_worker_has_no_supervisor(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "1") as proxy:
        assert proxy.workers() == []
        assert proxy.announced[-1].endswith(f", {io_of(loop_name)})")
        async with clients(proxy, 1):
            assert connections(proxy.pid, proxy.port) == 1
        await proxy.stop()


async def test_a_worker_has_its_own_sockets_only(loop_name: str) -> None:
    flags = ("--workers", "3", "--listen", "127.0.0.1:0,127.0.0.2:0")
    async with proxy_process(loop_name, *flags) as proxy:
        for address in proxy.addresses:
            shares = [listening(pid, address.port) for pid in proxy.workers()]
            assert [len(share) for share in shares] == [1, 1, 1]
            assert set().union(*shares) == listening(proxy.pid, address.port)
            assert len(listening(proxy.pid, address.port)) == 3
        await proxy.stop()


async def test_each_worker_refuses_requests_to_all_addresses_of_the_proxy(loop_name: str) -> None:
    flags = ("--workers", "2", "--listen", "127.0.0.1:0,0.0.0.0:0")
    async with proxy_process(loop_name, *flags) as proxy, clients(proxy) as wires:
        assert min(connections(pid, proxy.port) for pid in proxy.workers()) >= MIN_SHARE
        for number, wire in enumerate(wires):
            route = f"X-Cmux-Port-Internal: {proxy.addresses[number % 2].port}"
            await wire.send(head("GET / HTTP/1.1", "Host: a", route))
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 508 ")
        assert "every client that can reach 0.0.0.0" in await proxy.error_line()
        await proxy.stop()


# Listening


@pytest.mark.parametrize(("first", "second"), [("2", "2"), ("2", "1"), ("1", "2")])
async def test_an_address_of_another_proxy_is_in_use(
    loop_name: str, first: str, second: str
) -> None:
    async with proxy_process(loop_name, "--workers", first) as proxy:
        address = f"127.0.0.1:{proxy.port}"
        done = await finish(
            *MODULE, "--workers", second, "--listen", address, variables=environment()
        )
        reason = "the address is in use; `cmux-proxy ports` shows by whom"
        assert done.errors.decode() == f"cmux-proxy: error: cannot listen on {address}: {reason}\n"
        assert (done.status, done.out) == (1, b"")
        await proxy.stop()


async def test_the_addresses_are_free_after_the_end(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        port = proxy.port
        async with clients(proxy, 2):
            await proxy.stop()
    flags = ("--workers", "2", "--listen", f"127.0.0.1:{port}")
    async with proxy_process(loop_name, *flags) as proxy:
        await proxy.stop()


# Workers that end


@pytest.mark.hosting
async def test_a_killed_worker_is_replaced_and_no_other_client_notices(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        async with clients(proxy) as wires:
            victim, other = proxy.workers()
            lost = connections(victim, proxy.port)
            os.kill(victim, signal.SIGKILL)
            line = await proxy.error_line()
            assert re.fullmatch(
                rf"cmux-proxy: WARNING: worker [12] \(pid {victim}\) was ended by signal 9 "
                r"\(Killed\); the next one starts in 0\.1 s", line,
            )  # fmt: skip
            assert sum([await _is_closed(wire) for wire in wires]) == lost
        # Half of these reach the dead worker's sockets, and wait there for its successor.
        async with clients(proxy):
            successor = set(proxy.workers()) - {other}
            assert len(successor) == 1
            assert connections(successor.pop(), proxy.port) >= MIN_SHARE
        # The status of a replaced worker does not count.
        await proxy.stop()


async def _is_closed(wire: Wire) -> bool:
    """Return whether a connection is closed; an open one must be served."""
    try:
        await is_served(wire)
    except (AssertionError, ConnectionError):
        return True
    return False


@pytest.mark.hosting
async def test_a_worker_that_gets_sigterm_drains_and_is_replaced(loop_name: str) -> None:
    async with (
        origin(responding(lambda _request: GREETING)) as upstream,
        proxy_process(loop_name, "--workers", "2") as proxy,
    ):
        victim, other = proxy.workers()
        os.kill(victim, signal.SIGTERM)
        os.kill(victim, signal.SIGINT)
        line = await proxy.error_line()
        assert f"(pid {victim}) ended with status 0; the next one starts in 0.1 s" in line
        for _ in range(CLIENTS):
            with await request(proxy, upstream.port, "Connection: close") as wire:
                assert (await later(wire.receive_all())).endswith(b"hello")
        assert set(proxy.workers()) > {other}
        await proxy.stop()


# Draining


class PendingRequests:
    """Clients whose requests are pending on all workers, until they are released."""

    def __init__(self, wires: list[Wire], release: asyncio.Event) -> None:
        self.wires = wires
        self._release = release

    def release(self) -> None:
        """Let the upstream respond."""
        self._release.set()

    async def complete(self) -> None:
        """Let the upstream respond; check that each client gets the complete response."""
        self.release()
        for wire in self.wires:
            data = await later(wire.receive_all())
            assert data.startswith(b"HTTP/1.1 200 "), data
            assert b"\r\nConnection: close\r\n" in data
            assert data.endswith(b"hello")


@contextlib.asynccontextmanager
async def pending_requests(proxy: ProxyProcess) -> AsyncIterator[PendingRequests]:
    """Have pending requests on all workers."""
    release = asyncio.Event()
    received = asyncio.Semaphore(0)

    async def hold(connection: OriginConnection) -> None:
        while await connection.request() is not None:
            received.release()
            await release.wait()
            await connection.send(GREETING)

    async with origin(hold) as upstream:
        with contextlib.ExitStack() as stack:
            wires = [
                stack.enter_context(await request(proxy, upstream.port)) for _ in range(CLIENTS)
            ]
            for _ in wires:
                await soon(received.acquire())
            assert min(connections(pid, proxy.port) for pid in proxy.workers()) >= MIN_SHARE
            yield PendingRequests(wires, release)


async def stopped_listening(proxy: ProxyProcess, idle: Wire) -> None:
    """Wait until the proxy drains, and check that it does not listen."""
    assert await later(idle.receive()) == b""
    with pytest.raises(ConnectionRefusedError):
        await _connect_until_refused(proxy)


async def _connect_until_refused(proxy: ProxyProcess) -> None:
    # The idle client's worker drains; the others may need a moment to stop listening.
    while True:
        with await Wire.to("127.0.0.1", proxy.port) as late, contextlib.suppress(ConnectionError):
            await soon(late.receive())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_workers_and_the_status_is_0(
    loop_name: str, number: signal.Signals
) -> None:
    async with (
        proxy_process(loop_name, "--workers", "2") as proxy,
        pending_requests(proxy) as pending,
        clients(proxy, 1) as [idle],
    ):
        proxy.signal(number)
        await stopped_listening(proxy, idle)
        await pending.complete()
        await proxy.drains()


async def test_a_signal_to_the_process_group_counts_once(loop_name: str) -> None:
    async with (
        proxy_process(loop_name, "--workers", "2", has_group=True) as proxy,
        pending_requests(proxy) as pending,
        clients(proxy, 1) as [idle],
    ):
        # A terminal does this at Ctrl-C.
        os.killpg(proxy.pid, signal.SIGINT)
        await stopped_listening(proxy, idle)
        await pending.complete()
        await proxy.drains()


@pytest.mark.hosting
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("fields", [["Connection: close"], []], ids=["new", "reused"])
async def test_no_request_fails_when_it_drains_under_load(
    loop_name: str, fields: list[str], workers: str
) -> None:
    async with (
        origin(responding(lambda _request: GREETING)) as upstream,
        proxy_process(loop_name, "--workers", workers) as proxy,
    ):
        responses = asyncio.Semaphore(0)
        is_draining = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(_load(proxy, upstream.port, fields, responses, is_draining))
            for _ in range(3 * CLIENTS):
                await soon(responses.acquire())
            is_draining.set()
            proxy.signal()
        await proxy.drains()


async def _load(
    proxy: ProxyProcess,
    port: int,
    fields: list[str],
    responses: asyncio.Semaphore,
    is_draining: asyncio.Event,
) -> None:
    """Send requests until the proxy stops listening; fail where a response is incomplete."""
    message = head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}", *fields)
    while True:
        with contextlib.ExitStack() as stack:
            try:
                wire = stack.enter_context(await Wire.to("127.0.0.1", proxy.port))
                await wire.send(message)
                unread = await later(wire.receive())
            except ConnectionError:
                # Refused, or reset by the kernel because the connection was in the backlog of a
                # socket that was closed. A drain that loses a request ends differently.
                assert is_draining.is_set()
                return
            is_last = False
            while not is_last:
                data = unread or await later(wire.receive())
                unread = b""
                while not data.endswith(b"hello"):
                    chunk = await later(wire.receive())
                    assert chunk, data
                    data += chunk
                assert data.startswith(b"HTTP/1.1 200 "), data
                is_last = b"\r\nConnection: close\r\n" in data
                responses.release()
                if not is_last:
                    await wire.send(message)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(signal.SIGTERM, signal.SIGTERM, id="TERM TERM"),
        pytest.param(signal.SIGTERM, signal.SIGINT, id="TERM INT"),
    ],
)
async def test_a_second_signal_ends_all_processes_at_once(
    loop_name: str, first: signal.Signals, second: signal.Signals
) -> None:
    flags = ("--workers", "2", "--drain-timeout", "3600")
    async with (
        proxy_process(loop_name, *flags) as proxy,
        pending_requests(proxy),
        clients(proxy, 1) as [idle],
    ):
        workers = proxy.workers()
        proxy.signal(first)
        await stopped_listening(proxy, idle)
        proxy.signal(second)
        await proxy.drains(128 + second)
        await ended(workers)


async def test_a_worker_killed_during_the_drain_sets_the_exit_status(loop_name: str) -> None:
    async with (
        proxy_process(loop_name, "--workers", "2", "--drain-timeout", "3600") as proxy,
        pending_requests(proxy) as pending,
        clients(proxy, 1) as [idle],
    ):
        victim, other = proxy.workers()
        proxy.signal()
        await stopped_listening(proxy, idle)
        os.kill(victim, signal.SIGKILL)
        await ended([victim])
        pending.release()
        await ended([other])
        status, errors = await proxy.ended()
        assert status == 128 + signal.SIGKILL
        assert re.fullmatch(
            rf"cmux-proxy: WARNING: worker [12] \(pid {victim}\) was ended by signal 9 "
            r"\(Killed\)\n", without_drain_lines(errors),
        )  # fmt: skip


@pytest.mark.hosting
async def test_workers_drain_and_end_when_their_supervisor_is_killed(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        async with pending_requests(proxy) as pending, clients(proxy, 1) as [idle]:
            workers = proxy.workers()
            proxy.signal(signal.SIGKILL)
            await stopped_listening(proxy, idle)
            await pending.complete()
            await ended(workers)
        await proxy.drains(-signal.SIGKILL)


async def test_a_burst_of_a_thousand_connections_is_accepted(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        async with clients(proxy, 1000):
            assert sum(connections(pid, proxy.port) for pid in proxy.workers()) == 1000
        await proxy.stop()
