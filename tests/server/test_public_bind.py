"""Whether everybody may come in."""

import pytest

from cmux_proxy import Access, Address
from cmux_proxy.server.public_bind import admin_seen_by_all, reachable_by_all

LOCAL = [Address("127.0.0.1", 80), Address("127.0.0.2", 80), Address("::1", 80)]
PUBLIC = [Address("0.0.0.0", 80), Address("::", 80), Address("192.0.2.1", 80)]
SCOPED = Address("fe80::1%lo", 80)


def test_only_what_others_reach_is_told() -> None:
    assert reachable_by_all([*LOCAL, *PUBLIC, SCOPED], Access()) == [*PUBLIC, SCOPED]


@pytest.mark.parametrize(
    "access",
    [
        Access(tokens=["t"]),
        Access(allow_ports=["80"]),
        Access(deny_ports=["80"]),
        Access(allow_clients=["::1"]),
    ],
)
def test_whoever_restricts_anything_has_thought_of_it(access: Access) -> None:
    assert reachable_by_all(PUBLIC, access) == []


def test_hosts_alone_keep_nobody_out_who_does_not_use_a_browser() -> None:
    assert reachable_by_all(PUBLIC, Access(allow_hosts=["localhost"])) == PUBLIC


def test_the_lists_do_not_hold_for_the_admin_listener_and_tokens_do() -> None:
    lists = Access(allow_ports=["80"], allow_clients=["::1"], allow_hosts=["localhost"])
    assert all(admin_seen_by_all(address, lists) for address in (*PUBLIC, SCOPED))
    assert not any(admin_seen_by_all(address, Access(tokens=["t"])) for address in PUBLIC)
    for address in (*LOCAL, Address.parse("unix:/run/a.sock")):
        assert not admin_seen_by_all(address, Access())
