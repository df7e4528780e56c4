"""Single requests and messages through a proxy: to wait for its start, and to use connections."""

import socket
import time

from bench.load.generators import FIELD, Load
from bench.load.processes import BenchError, Process
from bench.load.programs import PROXIES

_READY_TIMEOUT = 10.0
_PAUSE = 0.05
_MESSAGE = bytes(64)
_GREETING = 13


def await_readiness(load: Load, proxy: Process) -> None:
    """Wait until a proxy forwards requests; some listen before they are configured.

    Raises BenchError with the last error.
    """
    deadline = time.monotonic() + _READY_TIMEOUT
    while True:
        try:
            with connect(proxy) as sock:
                use(sock, load, proxy)
        except (OSError, BenchError) as error:
            if time.monotonic() > deadline:
                raise BenchError(f"does not forward: {error}") from None
            time.sleep(_PAUSE)
        else:
            return


def connect(proxy: Process) -> socket.socket:
    """Return a connection to a proxy."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def use(sock: socket.socket, load: Load, proxy: Process) -> None:
    """Send a request of the scenario, or a message and its echo; leave the connection open."""
    if load.scenario.is_tunnel:
        _use_tunnel(sock, load, proxy)
    else:
        _use_client(sock, load)


def _use_client(sock: socket.socket, load: Load) -> None:
    scenario = load.scenario
    length = scenario.bytes if scenario.kind == "requests" else _GREETING
    path = scenario.path if scenario.kind == "requests" else f"/{_GREETING}"
    fields = {"Host": "localhost", FIELD: str(load.upstream), **scenario.fields}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    head, body = _read_head(sock)
    while len(body) < (length or _GREETING):
        body += _receive(sock, head)
    if not head.startswith(b"HTTP/1.1 200") or len(body) != (length or _GREETING):
        raise BenchError(f"{head[:80]!r} and {len(body)} bytes")


def _use_tunnel(sock: socket.socket, load: Load, proxy: Process) -> None:
    head = b""
    if PROXIES[proxy.name].knows_connect:
        lines = ["CONNECT upstream:1 HTTP/1.1", "Host: upstream:1", f"{FIELD}: {load.upstream}"]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        head, _ = _read_head(sock)
    sock.sendall(b"ECHO\r\n\r\n" + _MESSAGE)
    echo = _receive(sock, head)
    while len(echo) < len(_MESSAGE):
        echo += _receive(sock, echo)
    if echo != _MESSAGE:
        raise BenchError(f"{echo[:80]!r} and no echo")


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Return a response head, and the bytes after it."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(sock, received)
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def _receive(sock: socket.socket, before: bytes) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise BenchError(f"closed after {before[:80]!r}")
    return data
