"""Whether an address is one of the proxy's own listeners."""

import socket

import pytest

from cmux_proxy.config.address import Address
from cmux_proxy.server.self_addresses import SelfAddresses

# For documentation: no machine has them (RFC 5737, RFC 3849).
FOREIGN = ("203.0.113.77", "2001:db8::77")


def covers(bound: str, target: str, dual_stack: bool = True, port: int = 80) -> bool:
    addresses = [Address(bound, 80)]
    if bound == "::" and dual_stack:
        addresses.append(Address("0.0.0.0", 80))
    return SelfAddresses(addresses).covers(target, port)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "::"])
def test_a_bound_address_is_its_own(address: str) -> None:
    assert covers(address, address)
    assert not covers(address, address, port=81)


@pytest.mark.parametrize(
    ("bound", "target"),
    [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::")],
)
def test_another_address_is_not_its_own(bound: str, target: str) -> None:
    assert not covers(bound, target)


@pytest.mark.parametrize("target", ["127.0.0.1", "127.9.9.9", "0.0.0.0"])
def test_the_ipv4_wildcard_covers_loopback(target: str) -> None:
    assert covers("0.0.0.0", target)


@pytest.mark.parametrize("target", ["::1", "::", *FOREIGN])
def test_the_ipv4_wildcard_covers_nothing_else(target: str) -> None:
    assert not covers("0.0.0.0", target)


@pytest.mark.parametrize("target", ["::1", "::"])
def test_the_ipv6_wildcard_covers_loopback(target: str) -> None:
    assert covers("::", target, dual_stack=True)
    assert covers("::", target, dual_stack=False)


@pytest.mark.parametrize("target", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::ffff:127.0.0.1"])
def test_the_ipv6_wildcard_covers_ipv4_where_it_is_dual_stack(target: str) -> None:
    assert covers("::", target, dual_stack=True)
    assert not covers("::", target, dual_stack=False)


@pytest.mark.parametrize("target", FOREIGN)
def test_a_wildcard_does_not_cover_other_machines(target: str) -> None:
    assert not covers("::", target)


def test_connecting_to_a_wildcard_reaches_loopback() -> None:
    assert covers("127.0.0.1", "0.0.0.0")
    assert covers("::1", "::")
    assert not covers("127.0.0.2", "0.0.0.0")
    assert not covers("::1", "0.0.0.0")


def test_an_ipv4_address_in_ipv6_form_is_that_ipv4_address() -> None:
    assert covers("127.0.0.1", "::ffff:127.0.0.1")
    assert covers("0.0.0.0", "::ffff:7f00:1")
    assert not covers("127.0.0.1", "::ffff:127.0.0.2")


def test_an_address_may_be_written_in_any_form() -> None:
    assert covers("::1", "0:0::0:1")
    assert covers("::", "::1%lo")


def test_an_address_of_this_machine_is_covered_by_its_wildcard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probed: list[object] = []

    class AnyAddress(socket.socket):
        def bind(self, address: object, /) -> None:
            probed.append((self.family, address))

    monkeypatch.setattr("cmux_proxy.server.self_addresses.socket.socket", AnyAddress)
    for bound, target in (("0.0.0.0", FOREIGN[0]), ("::", FOREIGN[1]), ("::", FOREIGN[0])):
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        assert covers(bound, target)
        assert probed.pop() == (family, (target, 0))


def test_each_port_counts_for_its_own_address_only() -> None:
    self_addresses = SelfAddresses([Address("127.0.0.1", 1), Address("127.0.0.2", 2)])
    assert self_addresses.covers("127.0.0.1", 1)
    assert self_addresses.covers("127.0.0.2", 2)
    assert not self_addresses.covers("127.0.0.1", 2)
    assert not self_addresses.covers("127.0.0.2", 1)


def test_no_addresses_cover_nothing() -> None:
    assert not SelfAddresses([]).covers("127.0.0.1", 80)
