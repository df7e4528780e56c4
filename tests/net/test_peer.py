"""Whom a connection is from."""

import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cmux_proxy.net.peer import peer_of


@pytest.mark.parametrize(
    ("family", "name", "peer"),
    [
        (socket.AF_INET, ("192.0.2.1", 7), "192.0.2.1"),
        (socket.AF_INET6, ("::1", 7, 0, 0), "::1"),
        (socket.AF_INET, None, ""),
        (socket.AF_UNIX, "", "unix:"),
        (socket.AF_UNIX, None, "unix:"),
        (socket.AF_UNIX, "/tmp/10.0.0.1", "unix:"),
        (socket.AF_UNIX, b"\\0name", "unix:"),
        (None, None, ""),
    ],
)
def test_a_peer_is_an_address_or_comes_through_a_unix_socket(
    family: int | None, name: object, peer: str
) -> None:
    sock = None if family is None else SimpleNamespace(family=family)
    transport = SimpleNamespace(get_extra_info={"socket": sock, "peername": name}.get)
    assert peer_of(cast(Any, transport)) == peer
