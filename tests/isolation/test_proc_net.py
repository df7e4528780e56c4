"""The listening sockets of this namespace and of others."""

import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest

from cmux_proxy.isolation.proc_net import (
    MAX_OTHER_SOCKETS,
    ListeningSocket,
    read_listening_ports,
    read_listening_sockets,
)
from tests.helpers.workspaces import serving

TITLES = "  sl  local_address rem_address   st\n"
OTHER_COLUMNS = "00000000:00000000 00:00000000 00000000 0 0"


def row(address: str, state: str = "0A", inode: int = 7) -> str:
    return f"   0: {address} 00000000:0000 {state} {OTHER_COLUMNS} {inode} 1\n"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Return the folder from which the kernel's tables are read."""
    if sys.byteorder != "little":
        pytest.skip("the addresses below are those of little-endian machines")
    folder = tmp_path / "self" / "net"
    folder.mkdir(parents=True)
    (folder / "tcp").write_text(TITLES)
    return folder


def proc_of(tables: Path) -> str:
    """Return the path of procfs for the tables in PROC/self/net."""
    return str(tables.parent.parent)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "127.18.1.2", "::1", "::"])
def test_an_address_is_listed_as_it_was_bound(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as sock:
        port, inode = sock.getsockname()[1], os.fstat(sock.fileno()).st_ino
        assert ListeningSocket(port, address, inode) in read_listening_sockets()
        assert port in read_listening_ports()
    assert inode not in {entry.inode for entry in read_listening_sockets()}


def test_an_ipv6_socket_on_a_mapped_address_is_listed_with_the_ipv4_address() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::ffff:127.0.0.1", 0))
        sock.listen()
        port, inode = sock.getsockname()[1], os.fstat(sock.fileno()).st_ino
        assert ListeningSocket(port, "127.0.0.1", inode) in read_listening_sockets()


def test_a_bound_or_connected_socket_is_not_listed() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unused = stack.enter_context(socket.socket())
        unused.bind(("127.0.0.1", 0))
        client = stack.enter_context(socket.create_connection(server.getsockname()))
        inodes = {entry.inode for entry in read_listening_sockets()}
        assert os.fstat(server.fileno()).st_ino in inodes
        assert not {os.fstat(sock.fileno()).st_ino for sock in (unused, client)} & inodes


def test_ipv6_may_be_missing(tables: Path) -> None:
    (tables / "tcp").write_text(
        TITLES
        + row("0100007F:0BB8")
        + row("00000000:0016", inode=8)
        + row("0100007F:1F90", "01")
        + row("0200007F:0BB8", inode=9)
    )
    assert read_listening_sockets(proc=proc_of(tables)) == [
        (3000, "127.0.0.1", 7),
        (22, "0.0.0.0", 8),
        (3000, "127.0.0.2", 9),
    ]
    assert read_listening_ports(proc_of(tables)) == [22, 3000]


def test_reading_stops_after_many_connections(tables: Path) -> None:
    other = row("0100007F:1F90", "01")
    first, second, third = (row(f"0100007F:000{port}") for port in (1, 2, 3))
    (tables / "tcp").write_text(TITLES + first + other * MAX_OTHER_SOCKETS + second + other + third)
    assert read_listening_ports(proc_of(tables)) == [1, 2]


def test_a_namespace_is_read_through_a_process_in_it(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    with serving("a-1", "::1", 3000, prefix=prefix) as process:
        assert [entry[:2] for entry in read_listening_sockets(process.pid)] == [(3000, "::1")]


def test_a_missing_process_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        read_listening_sockets(2**22 + 1)
