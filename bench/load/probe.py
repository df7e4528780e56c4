"""Single requests and messages through a proxy: to wait for its start, and to use connections."""

import socket
import ssl
import time

from bench.load.certificate import certificate
from bench.load.frames import (
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    SETTINGS,
    Frame,
    frame,
    is_ok,
    preface,
    read_frames,
    request,
)
from bench.load.loads import FIELD, Load
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
            with open_client(load, proxy) as sock:
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


def open_client(load: Load, proxy: Process) -> socket.socket:
    """Return a connection to a proxy, with TLS if the scenario has it."""
    sock = connect(proxy)
    if not load.scenario.is_tls:
        return sock
    context = ssl.create_default_context(cafile=str(certificate(load.directory)))
    return context.wrap_socket(sock, server_hostname="localhost")


def use(sock: socket.socket, load: Load, proxy: Process) -> None:
    """Send a request of the scenario, or a message and its echo; leave the connection open."""
    if load.scenario.is_tunnel:
        _use_tunnel(sock, load, proxy)
    elif load.scenario.is_http2:
        _use_http2(sock, load)
    else:
        _use_client(sock, load)


def _target(load: Load) -> tuple[str, int]:
    """Return the path of a request, and the length of its response."""
    scenario = load.scenario
    if scenario.has_stream_upstream:
        return f"/{_GREETING}", _GREETING
    return scenario.path, scenario.bytes or _GREETING


def _use_client(sock: socket.socket, load: Load) -> None:
    path, length = _target(load)
    fields = {"Host": "localhost", FIELD: str(load.upstream), **load.scenario.fields}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    head, body = _read_head(sock)
    while len(body) < length:
        body += _receive(sock, head)
    if not head.startswith(b"HTTP/1.1 200") or len(body) != length:
        raise BenchError(f"{head[:80]!r} and {len(body)} bytes")


def _use_http2(sock: socket.socket, load: Load) -> None:
    _, length = _target(load)
    sock.sendall(preface() + request(1, http2_fields(load)))
    frames: list[Frame] = []
    rest = b""
    while not any(one.stream == 1 and one.flags & END_STREAM for one in frames):
        more, rest = read_frames(rest + _receive(sock, rest))
        frames += more
    sock.sendall(frame(SETTINGS, ACK))
    heads = [one.payload for one in frames if one.kind == HEADERS]
    body = sum(len(one.payload) for one in frames if one.kind == DATA)
    if not (heads and is_ok(heads[0]) and body == length):
        raise BenchError(f"{heads[:1]} and {body} bytes")


def http2_fields(load: Load) -> dict[str, str]:
    """Return the fields of a request of the scenario over HTTP/2."""
    path, _ = _target(load)
    return {
        ":method": "GET",
        ":scheme": load.scenario.scheme,
        ":path": path,
        ":authority": "localhost",
        FIELD: str(load.upstream),
        **load.scenario.fields,
    }


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
