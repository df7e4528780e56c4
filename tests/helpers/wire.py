"""Plain sockets driven from a coroutine: a test decides which bytes leave, and when it reads.

Without streams and transports a half-close, a reset and a peer that does not read are one call, and
the same on every event loop.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final, Self

from cmux_proxy.net.ipv6_zone import to_sockaddr
from cmux_proxy.net.readiness import wait_readable
from tests.helpers.timing import soon

_READ: Final = 65536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Wire:
    """One end of a connection; `received` are all the bytes that arrived."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.received = bytearray()
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def to(cls, host: str, port: int, buffer: int | None = None) -> Self:
        """Connect; with `buffer`, the kernel holds about that many bytes in each direction."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setblocking(False)
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await soon(asyncio.get_running_loop().sock_connect(sock, (host, port)))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    @classmethod
    async def to_path(cls, path: str, name: str = "") -> Self:
        """Connect to a Unix socket; with a name, this end is bound to that path."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            if name:
                sock.bind(name)
            await soon(asyncio.get_running_loop().sock_connect(sock, path))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Send all of it, however long that takes."""
        await self._loop.sock_sendall(self.sock, data)

    async def receive(self, max_bytes: int = _READ) -> bytes:
        """Return the bytes that arrive next, b"" at the end, however long that takes."""
        data = await self._loop.sock_recv(self.sock, max_bytes)
        self.received += data
        return data

    async def receive_all(self) -> bytes:
        """Return everything up to the end."""
        pieces = []
        while data := await self.receive():
            pieces.append(data)
        return b"".join(pieces)

    def take_arrived(self) -> bytes:
        """Return the bytes that have arrived, without waiting; b"" also at the end."""
        try:
            data = self.sock.recv(_READ)
        except (BlockingIOError, ConnectionResetError):
            return b""
        self.received += data
        return data

    def end(self) -> None:
        """Send our end; the other direction stays open."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.reset_on_close()
        self.close()

    def reset_on_close(self) -> None:
        """Make a later close a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def close(self) -> None:
        """Close, as a process that exits does."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WireListener:
    """A listening socket; `sock` may belong to another network namespace."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        buffer: int | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        self.host = host
        self.sock = sock or socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.setblocking(False)
        if buffer is not None:
            # Accepted connections inherit both.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(to_sockaddr(host, port))
        self.sock.listen(4096)
        self.port: int = self.sock.getsockname()[1]

    async def accept(self) -> Wire:
        """Return the next connection, however long that takes."""
        while True:
            try:
                # Nothing is awaited behind it, so that no cancellation loses the connection.
                sock, _address = self.sock.accept()
            except BlockingIOError:
                await wait_readable(asyncio.get_running_loop(), self.sock.fileno())
            else:
                sock.setblocking(False)
                return Wire(sock)

    def close(self) -> None:
        """Stop listening; connections stay open."""
        self.sock.close()


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Reserve a port of all addresses; a test may listen on it, and no other program gets it.

    The system assigns no port to which a socket is bound. A second socket may bind it as long as
    both set SO_REUSEADDR and the first does not listen.
    """
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        yield sock.getsockname()[1]


@contextlib.asynccontextmanager
async def deaf_port() -> AsyncIterator[int]:
    """Reserve a port that accepts no further connection: its backlog is full."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", stack.enter_context(closed_port())))
        listener.listen(0)
        address = listener.getsockname()
        first = stack.enter_context(socket.socket())
        first.setblocking(False)
        # A backlog of length 0 has room for one.
        await soon(loop.sock_connect(first, address))
        yield address[1]
