"""relay.c: bytes, ends and errors are passed on."""

import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.load.compiler import compiled
from bench.load.processes import free_port
from tests.helpers.tools import tool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")

LARGE = bytes(range(256)) * 250_000  # more than the buffers of all sockets on the way
CHUNK = 1 << 16
_STILL = 0.2  # seconds; where bytes would move again after that, the test only sees less


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled relay."""
    tool("cc")
    return compiled("relay", tmp_path_factory.mktemp("relay"))


@pytest.fixture
def pair(program: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a client's socket, and the upstream's, with the relay between them."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = free_port()
        relay = subprocess.Popen([program, str(port), str(listener.getsockname()[1])])
        try:
            listener.settimeout(10)
            client = connect(port, relay)
            upstream, _ = listener.accept()
            with client, upstream:
                client.settimeout(10)
                upstream.settimeout(10)
                yield client, upstream
            assert relay.poll() is None
        finally:
            relay.kill()
            relay.wait()


def connect(port: int, relay: subprocess.Popen[bytes]) -> socket.socket:
    """Return a connection to the relay as soon as it listens."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert relay.poll() is None


def read(sock: socket.socket, count: int) -> bytes:
    """Return as many bytes, or fewer if they end."""
    received = bytearray()
    while len(received) < count and (data := sock.recv(count - len(received))):
        received += data
    return bytes(received)


def test_bytes_are_passed_on_both_ways(pair: tuple[socket.socket, socket.socket]) -> None:
    client, upstream = pair
    for _ in range(3):
        client.sendall(b"there")
        assert read(upstream, 5) == b"there"
        upstream.sendall(b"back")
        assert read(client, 4) == b"back"


def test_an_end_is_passed_on_and_the_other_direction_stays_open(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, upstream = pair
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert read(upstream, 100) == b"last"
    upstream.sendall(b"answer")
    upstream.shutdown(socket.SHUT_WR)
    assert read(client, 100) == b"answer"


@pytest.mark.parametrize("is_from_client", [True, False], ids=["to upstream", "to client"])
def test_a_reader_that_starts_late_gets_all_bytes(
    pair: tuple[socket.socket, socket.socket], is_from_client: bool
) -> None:
    source, sink = pair if is_from_client else pair[::-1]
    rest = memoryview(LARGE)
    # Until nothing moves, because every buffer on the way is full.
    while rest and select.select([], [source], [], _STILL)[1]:
        rest = rest[source.send(rest[:CHUNK]) :]
    assert rest
    sending = threading.Thread(target=send_and_end, args=(source, rest))
    sending.start()
    assert read(sink, len(LARGE) + 1) == LARGE
    sending.join()


def send_and_end(sock: socket.socket, data: memoryview) -> None:
    """Send the bytes and the end."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def test_a_reset_closes_the_other_side(pair: tuple[socket.socket, socket.socket]) -> None:
    client, upstream = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert upstream.recv(1) == b""
