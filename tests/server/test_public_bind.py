"""Which addresses other machines reach without protection."""

from dataclasses import replace

import pytest

from cmux_proxy import Access, Address, Tls
from cmux_proxy.server.public_bind import is_admin_unprotected, unprotected_addresses

LOCAL = [Address("127.0.0.1", 80), Address("127.0.0.2", 80), Address("::1", 80)]
PUBLIC = [Address("0.0.0.0", 80), Address("::", 80), Address("192.0.2.1", 80)]
SCOPED = Address("fe80::1%lo", 80)


def test_only_public_addresses_are_returned() -> None:
    assert unprotected_addresses([*LOCAL, *PUBLIC, SCOPED], Access(), Tls()) == [*PUBLIC, SCOPED]


@pytest.mark.parametrize(
    "access",
    [
        Access(tokens=["t"]),
        Access(allow_ports=["80"]),
        Access(deny_ports=["80"]),
        Access(allow_clients=["::1"]),
    ],
)
def test_any_restriction_counts_as_protection(access: Access) -> None:
    assert unprotected_addresses(PUBLIC, access, Tls()) == []


def test_a_list_of_hosts_is_not_protection() -> None:
    assert unprotected_addresses(PUBLIC, Access(allow_hosts=["localhost"]), Tls()) == PUBLIC


def test_only_tokens_protect_the_admin_listener() -> None:
    lists = Access(allow_ports=["80"], allow_clients=["::1"], allow_hosts=["localhost"])
    assert all(is_admin_unprotected(address, lists) for address in (*PUBLIC, SCOPED))
    assert not any(is_admin_unprotected(address, Access(tokens=["t"])) for address in PUBLIC)
    for address in (*LOCAL, Address.parse("unix:/run/a.sock")):
        assert not is_admin_unprotected(address, Access())


def test_certificates_of_clients_protect_unless_plain_text_is_served() -> None:
    tls = Tls(certs=["a"], client_ca="b")
    assert unprotected_addresses(PUBLIC, Access(), tls) == PUBLIC
    assert unprotected_addresses(PUBLIC, Access(), replace(tls, plain_text="refuse")) == []
    assert unprotected_addresses(PUBLIC, Access(), Tls(certs=["a"], plain_text="refuse")) == PUBLIC
