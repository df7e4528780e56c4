"""The options of every TCP connection."""

import socket
import sys

import pytest

from cmux_proxy.net.socket_options import IDLE_OPTION, disable_pacing, tune


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_small_writes_leave_at_once_and_a_dead_peer_is_noticed(family: int) -> None:
    with socket.socket(family) as sock:
        tune(sock, "192.0.2.1")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, IDLE_OPTION) == 20
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10


def test_connections_inherit_the_options_of_the_socket_that_accepts_them() -> None:
    with socket.socket() as listening, socket.socket() as client:
        listening.bind(("127.0.0.1", 0))
        tune(listening, "127.0.0.1")
        listening.listen()
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 127


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1"])
def test_the_loopback_has_rare_probes_of_which_many_may_be_lost(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        default = sock.getsockopt(socket.IPPROTO_TCP, IDLE_OPTION)
        tune(sock, host)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 127
        assert sock.getsockopt(socket.IPPROTO_TCP, IDLE_OPTION) == default


def congestion_control(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a program choose")
@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.9.8.7", True), ("::1", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.1", False), ("12.7.0.1", False), ("2001:db8::1", False)],
)  # fmt: skip
def test_only_the_loopback_is_without_pacing(host: str, is_loopback: bool) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        default = congestion_control(sock)
        tune(sock, host)
        assert congestion_control(sock) == (b"reno" if is_loopback else default)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a program choose")
def test_a_kernel_without_it_keeps_its_default() -> None:
    with socket.socket() as sock:
        default = congestion_control(sock)
        disable_pacing(sock, "127.0.0.1", b"no-such-control")
        assert congestion_control(sock) == default
