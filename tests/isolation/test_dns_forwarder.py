"""The nameservers on loopback addresses, and the forwarding of queries and responses."""

import contextlib
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmux_proxy.isolation.dns_forwarder import (
    DnsForwarder,
    read_loopback_nameservers,
    start_dns_forwarders,
)
from tests.helpers.timing import SOON

RESOLV_CONF = """\
# nameserver 127.0.0.1
nameserver 127.0.0.53
nameserver 192.0.2.1
nameserver ::1
  nameserver 127.0.0.54 # ours
nameserver
nameserver fe80::1%eth0
nameserver name
options nameserver 127.0.0.9
search example
"""


def test_nameservers_on_loopback_addresses_are_found(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(RESOLV_CONF)
    assert read_loopback_nameservers(str(path)) == ["127.0.0.53", "::1", "127.0.0.54"]
    assert read_loopback_nameservers(str(tmp_path / "none")) == []


class Forwarding:
    """A forwarder on a loopback address, and the nameserver to which it forwards queries."""

    def __init__(self, stack: contextlib.ExitStack, max_clients: int) -> None:
        self.selector = stack.enter_context(selectors.DefaultSelector())
        self.nameserver = stack.enter_context(bound())
        sock = stack.enter_context(bound())
        self.address = sock.getsockname()
        DnsForwarder(self.selector, sock, self.nameserver.getsockname(), max_clients)
        stack.callback(self._close)

    def run_once(self) -> None:
        """Wait for events, and run their callbacks."""
        events = self.selector.select(SOON)
        assert events
        for key, _ in events:
            key.data(key.fileobj)

    def query(self, client: socket.socket, data: bytes) -> tuple[str, int]:
        """Send a query, and return the address from which the nameserver received it."""
        client.sendto(data, self.address)
        self.run_once()
        received, source = self.nameserver.recvfrom(1000)
        assert received == data
        return source  # type: ignore[no-any-return]

    def _close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(SOON)
    return sock


@pytest.fixture
def on() -> Iterator[Forwarding]:
    """Set up a forwarder and a nameserver."""
    with contextlib.ExitStack() as stack:
        yield Forwarding(stack, max_clients=2)


def test_each_client_gets_the_responses_to_its_queries(on: Forwarding) -> None:
    with bound() as one, bound() as other:
        first = on.query(one, b"one?")
        second = on.query(other, b"other?")
        assert on.query(one, b"one again?") == first != second
        for source, response in ((second, b"other!"), (first, b"one!"), (first, b"again!")):
            on.nameserver.sendto(response, source)
            on.run_once()
        assert [one.recv(100), one.recv(100), other.recv(100)] == [b"one!", b"again!", b"other!"]


def test_the_least_recently_active_client_is_dropped(on: Forwarding) -> None:
    with bound() as client_1, bound() as client_2, bound() as client_3:
        first, second = on.query(client_1, b"1"), on.query(client_2, b"2")
        assert on.query(client_1, b"1") == first
        on.query(client_3, b"3")
        assert on.query(client_1, b"1") == first
        assert on.query(client_2, b"2") != second
        # The bound socket, and those of two clients.
        assert len(on.selector.get_map()) == 3


def test_a_missing_nameserver_only_loses_queries(on: Forwarding) -> None:
    with bound() as client:
        on.nameserver.close()
        for _ in range(3):
            client.sendto(b"?", on.address)
            on.run_once()
        on.run_once()


def test_nothing_is_forwarded_where_the_address_is_in_use() -> None:
    with bound() as taken, selectors.DefaultSelector() as selector:
        port = taken.getsockname()[1]
        start_dns_forwarders(selector, ["127.0.0.1"], port)
        assert len(selector.get_map()) == 0
        taken.close()
        start_dns_forwarders(selector, ["127.0.0.1"], port)
        (key,) = selector.get_map().values()
        key.fileobj.close()  # type: ignore[union-attr]
