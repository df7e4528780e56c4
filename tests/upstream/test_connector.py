"""Which addresses are tried, what their errors mean, and that no socket is left open."""

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.net.stream import Loop
from cmux_proxy.net.tcp_connect import ConnectTimeout, connect_tuned
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dns_cache import DnsCache
from cmux_proxy.upstream.resolver import Resolver
from tests.helpers.timing import MS, soon
from tests.helpers.wire import WireListener, closed_port, deaf_port

BOTH = ["127.0.0.1", "::1"]


class Machine:
    """The running loop, with connections that fail as the test says; `tried` are the addresses."""

    def __init__(
        self, error: Exception | None = None, addresses: list[tuple[str, int]] | None = None
    ):
        self.tried: list[str] = []
        self.dialling = asyncio.Event()
        self.look_ups = 0
        self._error = error
        self._addresses = addresses
        self._failure: int | None = None

    def moves(self, addresses: list[tuple[str, int]]) -> None:
        self._addresses = addresses

    def goes(self) -> None:
        self.fails(socket.EAI_NONAME)

    def fails(self, number: int) -> None:
        self._failure = number

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    async def connect(
        self, loop: Loop, sock: socket.socket, host: str, port: int, timeout: float | None
    ) -> None:
        """Connect to an address that is not one of several."""
        try:
            self.prepare(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        await connect_tuned(loop, sock, host, port, timeout)

    async def sock_connect(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Connect to one of several addresses of a name."""
        self.prepare(sock, address)
        await asyncio.get_running_loop().sock_connect(sock, address)

    def prepare(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.tried.append(address[0])
        self.dialling.set()
        if self._error is not None:
            raise self._error

    async def look_up(self, host: str) -> list[Any]:
        self.look_ups += 1
        if self._failure is not None:
            raise socket.gaierror(self._failure, "as the test says")
        if self._addresses is None:
            return await Resolver(asyncio.get_running_loop()).look_up(host)
        return [
            (socket.AF_INET6 if ":" in each[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", each)
            for each in self._addresses
        ]


def tries(
    machine: Machine,
    *,
    both: bool = False,
    is_own: Callable[[str, int], bool] = lambda *_: False,
) -> Connector:
    loop = cast(Loop, machine)
    return Connector(loop, both, is_own, DnsCache(loop, machine.look_up), machine.connect)


async def failure(of: Connector, host: str, port: int) -> UpstreamUnavailable:
    """Return why a target cannot be connected to."""
    with pytest.raises(UpstreamUnavailable) as caught:
        (await soon(of.open_socket(Target(host, port)))).close()
    return caught.value


async def peer_port(of: Connector, host: str, port: int) -> int:
    with await soon(of.open_socket(Target(host, port))) as sock:
        reached: int = sock.getpeername()[1]
        return reached


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_socket_that_is_connected_does_not_block_and_sends_at_once(host: str) -> None:
    with contextlib.closing(WireListener("::1" if host == "::1" else "127.0.0.1")) as listener:
        sock = await soon(tries(Machine()).open_socket(Target(host, listener.port)))
        with sock:
            assert sock.getpeername()[1] == listener.port
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_a_port_on_which_nothing_listens_refuses(host: str, shown: str) -> None:
    with closed_port() as port:
        text = f"nothing listens on {shown}:{port}; start the service or check the port"
        error = await failure(tries(Machine()), host, port)
    assert (error.reason, error.text, error.retryable) == (UnavailableReason.REFUSED, text, False)


class SamePort(Machine):
    """A machine that gives a new connection the very port that is dialled, which is as free as any
    other where nobody listens. Then both ends are the same socket."""

    def prepare(self, sock: socket.socket, address: tuple[str, int]) -> None:
        sock.bind(address)
        super().prepare(sock, address)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_port_refuses_if_only_the_dial_itself_accepts(host: str) -> None:
    address = "::1" if host == "::1" else "127.0.0.1"
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        port = sock.getsockname()[1]
    of = tries(SamePort(addresses=[(address, port)]))
    assert (await failure(of, host, port)).reason is UnavailableReason.REFUSED
    # And the port is free for a service that starts now.
    with socket.socket(family) as sock:
        sock.bind((address, port))


# Both loopbacks


@contextlib.contextmanager
def listening_on_ipv6_alone(
    host: str = "127.0.0.1",
) -> Iterator[WireListener]:
    """Listen on ::1, and hold the same port on an IPv4 address so that nothing else does."""
    with contextlib.ExitStack() as stack:
        while True:
            listener = stack.enter_context(contextlib.closing(WireListener("::1")))
            taken = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                taken.bind((host, listener.port))
                break
        yield listener


async def test_the_other_loopback_is_tried_and_remembered_for_its_port_alone() -> None:
    machine = Machine()
    of = tries(machine, both=True)
    with listening_on_ipv6_alone() as listener, closed_port() as other:
        assert await peer_port(of, "127.0.0.1", listener.port) == listener.port
        assert await peer_port(of, "127.0.0.1", listener.port) == listener.port
        assert machine.tried == [*BOTH, "::1"]
        machine.tried.clear()
        await failure(of, "127.0.0.1", other)
        assert machine.tried == BOTH


@pytest.mark.parametrize(("host", "both"), [("127.0.0.1", False), ("127.0.0.2", True)])
async def test_no_other_address_is_tried_in_place_of_the_requested_one(
    host: str, both: bool
) -> None:
    machine = Machine()
    with listening_on_ipv6_alone(host) as listener:
        error = await failure(tries(machine, both=both), host, listener.port)
    assert (error.reason, machine.tried) == (UnavailableReason.REFUSED, [host])


async def test_only_a_refusal_leads_to_the_other_loopback() -> None:
    machine = Machine(OSError(errno.EHOSTUNREACH, ""))
    error = await failure(tries(machine, both=True), "127.0.0.1", 1)
    assert (error.reason, machine.tried) == (UnavailableReason.UNROUTABLE, BOTH[:1])


async def test_a_machine_without_the_other_loopback_reports_the_first() -> None:
    class OnlyIPv4(Machine):
        def prepare(self, sock: socket.socket, address: tuple[str, int]) -> None:
            if address[0] == "::1":
                raise OSError(errno.EADDRNOTAVAIL, "")
            super().prepare(sock, address)

    with closed_port() as port:
        error = await failure(tries(OnlyIPv4(), both=True), "127.0.0.1", port)
    assert error.reason is UnavailableReason.REFUSED


# What goes wrong


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64], ids=["unknown", "not encodable"])
async def test_a_name_that_cannot_be_resolved_is_unknown(host: str) -> None:
    machine = Machine()
    if host == "nowhere.invalid":
        machine.goes()
    error = await failure(tries(machine), host, 80)
    assert error.reason is UnavailableReason.DNS_ERROR
    assert error.text == f"the host of {host}:80 is not known"


@pytest.mark.parametrize("host", ["127.0.0.1", "silent.example", "several.example"])
async def test_a_port_that_does_not_accept_in_time_has_a_timeout(host: str) -> None:
    async with deaf_port() as port:
        addresses = [("127.0.0.1", port)] * (2 if host == "several.example" else 1)
        of = tries(Machine(addresses=addresses))
        with pytest.raises(ConnectTimeout):
            await soon(of.open_socket(Target(host, port), 10 * MS))


@pytest.mark.parametrize("host", ["127.0.0.1", "some.example"])
async def test_an_address_of_the_proxy_itself_is_not_dialled_nor_a_name_that_has_it(
    host: str,
) -> None:
    own = ("127.0.0.1", 80)
    machine = Machine(addresses=[("127.0.0.2", 80), own])
    error = await failure(tries(machine, is_own=lambda *to: to == own), host, 80)
    assert (error.reason, machine.tried) == (UnavailableReason.LOOP, [])
    assert error.text == "port 80 is the proxy itself; name the port of the service behind it"


async def test_without_descriptors_a_request_may_be_retried() -> None:
    of = tries(Machine())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        error = await failure(of, "127.0.0.1", 80)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (error.reason, error.retryable) == (UnavailableReason.RESOURCE_LIMIT, True)


@pytest.mark.parametrize("host", ["192.0.2.1", "some.example"])
async def test_without_memory_a_request_may_be_retried(host: str) -> None:
    of = tries(Machine(MemoryError(), addresses=[("192.0.2.1", 80)]))
    error = await failure(of, host, 80)
    assert (error.reason, error.retryable) == (UnavailableReason.RESOURCE_LIMIT, True)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EHOSTUNREACH, UnavailableReason.UNROUTABLE),
        (errno.ENETUNREACH, UnavailableReason.UNROUTABLE),
        (errno.EADDRNOTAVAIL, UnavailableReason.RESOURCE_LIMIT),
        (errno.ETIMEDOUT, UnavailableReason.TIMEOUT),
        (errno.ECONNRESET, UnavailableReason.TERMINATED),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
@pytest.mark.parametrize("host", ["192.0.2.1", "some.example"])
async def test_every_error_of_the_system_has_a_reason(
    host: str, number: int, expected: UnavailableReason
) -> None:
    of = tries(Machine(OSError(number, "as the test says"), addresses=[("192.0.2.1", 80)]))
    error = await failure(of, host, 80)
    assert error.reason is expected
    assert error.retryable == (expected is UnavailableReason.RESOURCE_LIMIT)
    assert f"{host}:80" in error.text


# Names with several addresses


async def test_the_next_address_is_tried_when_one_is_refused() -> None:
    with contextlib.closing(WireListener("127.0.0.2")) as listener:
        of = tries(Machine(addresses=[("127.0.0.1", 0), ("127.0.0.2", 0)]))
        assert await peer_port(of, "some.example", listener.port) == listener.port


async def test_a_name_all_of_whose_addresses_refuse_is_refused() -> None:
    with closed_port() as port:
        of = tries(Machine(addresses=[("127.0.0.1", 0), ("::1", 0)]))
        assert (await failure(of, "some.example", port)).reason is UnavailableReason.REFUSED


async def test_a_name_that_has_moved_is_followed() -> None:
    machine = Machine(addresses=[("127.0.0.2", 0)])
    of = tries(machine)
    with closed_port() as port:
        with contextlib.closing(WireListener("127.0.0.2", port)):
            assert await peer_port(of, "some.example", port) == port
            machine.moves([("127.0.0.3", 0)])
            # The cached address still accepts, so the name is not looked up.
            assert await peer_port(of, "some.example", port) == port
        with contextlib.closing(WireListener("127.0.0.3", port)):
            assert await peer_port(of, "some.example", port) == port
            assert machine.look_ups == 2


async def test_a_name_that_has_gone_is_not_known() -> None:
    with closed_port() as port:
        machine = Machine(addresses=[("127.0.0.1", 0)])
        of = tries(machine)
        assert (await failure(of, "some.example", port)).reason is UnavailableReason.REFUSED
        machine.goes()
        assert (await failure(of, "some.example", port)).reason is UnavailableReason.DNS_ERROR
        assert (await failure(of, "some.example", port)).reason is UnavailableReason.DNS_ERROR


async def test_a_name_that_still_has_its_addresses_is_not_tried_twice() -> None:
    with closed_port() as port:
        machine = Machine(addresses=[("127.0.0.1", 0)])
        of = tries(machine)
        for count in (1, 2):
            assert (await failure(of, "some.example", port)).reason is UnavailableReason.REFUSED
            assert machine.look_ups == count


async def test_the_order_of_addresses_does_not_matter() -> None:
    with closed_port() as port:
        machine = Machine(addresses=[("127.0.0.1", 0), ("::1", 0)])
        of = tries(machine)
        await failure(of, "some.example", port)
        machine.tried.clear()
        machine.moves([("::1", 0), ("127.0.0.1", 0)])
        assert (await failure(of, "some.example", port)).reason is UnavailableReason.REFUSED
        assert (machine.look_ups, len(machine.tried)) == (2, 2)


async def test_a_refusal_is_reported_even_if_the_resolver_fails_meanwhile() -> None:
    with closed_port() as port:
        machine = Machine(addresses=[("127.0.0.1", 0)])
        of = tries(machine)
        await failure(of, "some.example", port)
        machine.fails(socket.EAI_AGAIN)
        assert (await failure(of, "some.example", port)).reason is UnavailableReason.REFUSED


async def test_a_failing_resolver_is_not_an_unknown_name() -> None:
    machine = Machine()
    machine.fails(socket.EAI_AGAIN)
    text = "the host of a.test:80 could not be looked up; is there a name server that answers?"
    error = await failure(tries(machine), "a.test", 80)
    assert (error.reason, error.text) == (UnavailableReason.DNS_ERROR, text)


@pytest.mark.parametrize("host", ["127.0.0.1", "some.example"])
async def test_a_dial_that_is_cancelled_leaves_nothing_open(host: str) -> None:
    async with deaf_port() as port:
        machine = Machine(addresses=[("127.0.0.1", port), ("127.0.0.1", port)])
        loop = asyncio.get_running_loop()
        dialling = loop.create_task(tries(machine).open_socket(Target(host, port)))
        await soon(machine.dialling.wait())
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(dialling)
