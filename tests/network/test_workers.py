"""Several workers on one set of addresses, as clients see them (contract, section 8)."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.helpers.loops import descriptors
from tests.helpers.origins import Visit, answer, answering, origin
from tests.helpers.proxies import (
    MODULE,
    ProxyProcess,
    complaints,
    environment,
    is_served,
    proxy_process,
)
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.tools import finish
from tests.helpers.wire import Wire

CLIENTS = 64
# Of so many clients each of two workers gets half; that one gets less is one chance in a million.
FEWEST = 12
GREETING = answer(b"hello")


@contextlib.asynccontextmanager
async def clients(proxy: ProxyProcess, count: int = CLIENTS) -> AsyncIterator[list[Wire]]:
    """Connect that many clients, and wait until a worker serves each of them."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(await Wire.to("127.0.0.1", proxy.port)) for _ in range(count)]
        for wire in wires:
            await is_served(wire)
        yield wires


async def asks(proxy: ProxyProcess, port: int, *fields: str) -> Wire:
    """Return a client that has asked for a port."""
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
    found = (re.fullmatch(r"socket:\[([0-9]+)\]", what) for what in descriptors(pid).values())
    return {match[1] for match in found if match is not None}


def _sockets(port: int, state: str) -> set[str]:
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return {row[9] for row in rows if row[3] == state and row[1].endswith(f":{port:04X}")}


async def gone(pids: Sequence[int]) -> None:
    """Wait until processes have ended that are not ours to wait for."""
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


async def test_every_worker_serves_its_share(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        assert proxy.announced[-1].endswith(f", {loop_name}, 2 workers)")
        assert len(proxy.announced) == 2
        async with clients(proxy):
            shares = [connections(pid, proxy.port) for pid in proxy.workers()]
            assert len(shares) == 2
            assert sum(shares) == CLIENTS
            assert min(shares) >= FEWEST
            assert connections(proxy.pid, proxy.port) == 0
        await proxy.stop()


async def test_auto_is_a_worker_for_each_cpu_that_may_be_used(loop_name: str) -> None:
    count = len(os.sched_getaffinity(0))
    async with proxy_process(loop_name, "--workers", "auto") as proxy:
        assert len(proxy.workers()) == (count if count > 1 else 0)
        await proxy.stop()


async def test_one_worker_has_no_supervisor(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "1") as proxy:
        assert proxy.workers() == []
        assert proxy.announced[-1].endswith(f", {loop_name})")
        async with clients(proxy, 1):
            assert connections(proxy.pid, proxy.port) == 1
        await proxy.stop()


async def test_a_worker_has_sockets_of_its_own_and_none_of_the_others(loop_name: str) -> None:
    flags = ("--workers", "3", "--listen", "127.0.0.1:0,127.0.0.2:0")
    async with proxy_process(loop_name, *flags) as proxy:
        for address in proxy.addresses:
            shares = [listening(pid, address.port) for pid in proxy.workers()]
            assert [len(share) for share in shares] == [1, 1, 1]
            assert set().union(*shares) == listening(proxy.pid, address.port)
            assert len(listening(proxy.pid, address.port)) == 3
        await proxy.stop()


async def test_every_worker_refuses_a_request_to_any_address_of_the_proxy(loop_name: str) -> None:
    flags = ("--workers", "2", "--listen", "127.0.0.1:0,0.0.0.0:0")
    async with proxy_process(loop_name, *flags) as proxy, clients(proxy) as wires:
        assert min(connections(pid, proxy.port) for pid in proxy.workers()) >= FEWEST
        for number, wire in enumerate(wires):
            route = f"X-Cmux-Port-Internal: {proxy.addresses[number % 2].port}"
            await wire.send(head("GET / HTTP/1.1", "Host: a", route))
            assert (await soon(wire.receive())).startswith(b"HTTP/1.1 508 ")
        assert "whoever reaches 0.0.0.0" in await proxy.complaint()
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


async def test_a_killed_worker_is_replaced_and_no_other_client_notices(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        async with clients(proxy) as wires:
            victim, other = proxy.workers()
            lost = connections(victim, proxy.port)
            os.kill(victim, signal.SIGKILL)
            line = await proxy.complaint()
            assert re.fullmatch(
                rf"cmux-proxy: WARNING: worker [12] \(pid {victim}\) was ended by signal 9 "
                r"\(Killed\); the next one starts in 0\.1 s", line,
            )  # fmt: skip
            assert sum([await _is_cut(wire) for wire in wires]) == lost
        # Half of these come to the dead worker's sockets, where they wait for the next one.
        async with clients(proxy):
            successor = set(proxy.workers()) - {other}
            assert len(successor) == 1
            assert connections(successor.pop(), proxy.port) >= FEWEST
        # What became of the victim does not count: another has taken its place.
        await proxy.stop()


async def _is_cut(wire: Wire) -> bool:
    """Return whether a connection is gone; one that is not has to be served."""
    try:
        await is_served(wire)
    except (AssertionError, ConnectionError):
        return True
    return False


async def test_a_worker_that_is_told_to_end_drains_and_is_replaced(loop_name: str) -> None:
    async with (
        origin(answering(lambda _asked: GREETING)) as upstream,
        proxy_process(loop_name, "--workers", "2") as proxy,
    ):
        victim, other = proxy.workers()
        os.kill(victim, signal.SIGTERM)
        os.kill(victim, signal.SIGINT)
        line = await proxy.complaint()
        assert f"(pid {victim}) ended with status 0; the next one starts in 0.1 s" in line
        for _ in range(CLIENTS):
            with await asks(proxy, upstream.port, "Connection: close") as wire:
                assert (await later(wire.receive_all())).endswith(b"hello")
        assert set(proxy.workers()) > {other}
        await proxy.stop()


# Draining


class Held:
    """Clients with a request under way on every worker, whose answers are held back."""

    def __init__(self, wires: list[Wire], release: asyncio.Event) -> None:
        self.wires = wires
        self._release = release

    def release(self) -> None:
        """Let the upstream answer."""
        self._release.set()

    async def are_answered(self) -> None:
        """Let the upstream answer; fail unless every client gets all of it."""
        self.release()
        for wire in self.wires:
            data = await later(wire.receive_all())
            assert data.startswith(b"HTTP/1.1 200 "), data
            assert b"\r\nConnection: close\r\n" in data
            assert data.endswith(b"hello")


@contextlib.asynccontextmanager
async def held(proxy: ProxyProcess) -> AsyncIterator[Held]:
    """Have requests under way, on every worker."""
    release = asyncio.Event()
    asked = asyncio.Semaphore(0)

    async def hold(visit: Visit) -> None:
        while await visit.request() is not None:
            asked.release()
            await release.wait()
            await visit.say(GREETING)

    async with origin(hold) as upstream:
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(await asks(proxy, upstream.port)) for _ in range(CLIENTS)]
            for _ in wires:
                await soon(asked.acquire())
            assert min(connections(pid, proxy.port) for pid in proxy.workers()) >= FEWEST
            yield Held(wires, release)


async def refuses(proxy: ProxyProcess, idle: Wire) -> None:
    """Wait until the proxy has begun to drain, and fail unless nobody listens any more."""
    assert await later(idle.receive()) == b""
    with pytest.raises(ConnectionRefusedError):
        await _refused(proxy)


async def _refused(proxy: ProxyProcess) -> None:
    # The idle client's worker has begun; the others may need a moment to stop listening.
    while True:
        with await Wire.to("127.0.0.1", proxy.port) as late, contextlib.suppress(ConnectionError):
            await soon(late.receive())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_workers_and_the_status_is_0(
    loop_name: str, number: signal.Signals
) -> None:
    async with (
        proxy_process(loop_name, "--workers", "2") as proxy,
        held(proxy) as under_way,
        clients(proxy, 1) as [idle],
    ):
        proxy.signal(number)
        await refuses(proxy, idle)
        await under_way.are_answered()
        await proxy.drains()


async def test_a_signal_to_the_whole_group_is_one_signal(loop_name: str) -> None:
    async with (
        proxy_process(loop_name, "--workers", "2", has_group=True) as proxy,
        held(proxy) as under_way,
        clients(proxy, 1) as [idle],
    ):
        # As the terminal does at Ctrl-C.
        os.killpg(proxy.pid, signal.SIGINT)
        await refuses(proxy, idle)
        await under_way.are_answered()
        await proxy.drains()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("fields", [["Connection: close"], []], ids=["new", "reused"])
async def test_no_request_fails_when_it_drains_under_load(
    loop_name: str, fields: list[str], workers: str
) -> None:
    async with (
        origin(answering(lambda _asked: GREETING)) as upstream,
        proxy_process(loop_name, "--workers", workers) as proxy,
    ):
        everybody = asyncio.Semaphore(0)
        ends = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(_load(proxy, upstream.port, fields, everybody, ends))
            for _ in range(3 * CLIENTS):
                await soon(everybody.acquire())
            ends.set()
            proxy.signal()
        await proxy.drains()


async def _load(
    proxy: ProxyProcess,
    port: int,
    fields: list[str],
    answered: asyncio.Semaphore,
    ends: asyncio.Event,
) -> None:
    """Ask again and again until nobody listens any more; fail when an answer does."""
    request = head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {port}", *fields)
    while True:
        with contextlib.ExitStack() as stack:
            try:
                wire = stack.enter_context(await Wire.to("127.0.0.1", proxy.port))
                await wire.send(request)
                first = await later(wire.receive())
            except ConnectionError:
                # Refused; or the kernel had it, and nobody could accept it any more: it is reset by
                # the kernel, which is not what a drain does that loses a request.
                assert ends.is_set()
                return
            is_last = False
            while not is_last:
                data = first or await later(wire.receive())
                first = b""
                while not data.endswith(b"hello"):
                    piece = await later(wire.receive())
                    assert piece, data
                    data += piece
                assert data.startswith(b"HTTP/1.1 200 "), data
                is_last = b"\r\nConnection: close\r\n" in data
                answered.release()
                if not is_last:
                    await wire.send(request)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(signal.SIGTERM, signal.SIGTERM, id="TERM TERM"),
        pytest.param(signal.SIGTERM, signal.SIGINT, id="TERM INT"),
    ],
)
async def test_a_second_signal_ends_all_at_once(
    loop_name: str, first: signal.Signals, second: signal.Signals
) -> None:
    flags = ("--workers", "2", "--drain-timeout", "3600")
    async with (
        proxy_process(loop_name, *flags) as proxy,
        held(proxy),
        clients(proxy, 1) as [idle],
    ):
        workers = proxy.workers()
        proxy.signal(first)
        await refuses(proxy, idle)
        proxy.signal(second)
        await proxy.drains(128 + second)
        await gone(workers)


async def test_a_worker_killed_during_the_drain_makes_the_status_its_own(loop_name: str) -> None:
    async with (
        proxy_process(loop_name, "--workers", "2", "--drain-timeout", "3600") as proxy,
        held(proxy) as under_way,
        clients(proxy, 1) as [idle],
    ):
        victim, other = proxy.workers()
        proxy.signal()
        await refuses(proxy, idle)
        os.kill(victim, signal.SIGKILL)
        await gone([victim])
        under_way.release()
        await gone([other])
        status, errors = await proxy.ended()
        assert status == 128 + signal.SIGKILL
        assert re.fullmatch(
            rf"cmux-proxy: WARNING: worker [12] \(pid {victim}\) was ended by signal 9 "
            r"\(Killed\)\n", complaints(errors),
        )  # fmt: skip


async def test_workers_whose_supervisor_is_killed_drain_and_go(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        async with held(proxy) as under_way, clients(proxy, 1) as [idle]:
            workers = proxy.workers()
            proxy.signal(signal.SIGKILL)
            await refuses(proxy, idle)
            await under_way.are_answered()
            await gone(workers)
        await proxy.drains(-signal.SIGKILL)


async def test_a_burst_of_a_thousand_connections_is_taken(loop_name: str) -> None:
    async with proxy_process(loop_name, "--workers", "2") as proxy:
        async with clients(proxy, 1000):
            assert sum(connections(pid, proxy.port) for pid in proxy.workers()) == 1000
        await proxy.stop()
