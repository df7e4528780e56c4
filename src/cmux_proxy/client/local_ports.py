"""Listens on a local port, on all addresses that a name has: localhost is IPv4 and IPv6."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from cmux_proxy.config.address import format_authority
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.net.socket_options import LISTEN_BACKLOG, accept_only_ipv6, reuse_address

_SocketAddress = tuple[socket.AddressFamily, Any]
_Listen = Callable[[socket.AddressFamily, Any], socket.socket]

# How often to try another port if the one that the system chose is in use in the other family.
_MAX_TRIES: Final = 20
# A machine without IPv6 may have ::1 for localhost nevertheless.
_MISSING_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listening_socket(family: socket.AddressFamily, address: Any) -> socket.socket:
    """Return a socket that listens on one address, of IPv6 only if it is one; raise OSError."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        reuse_address(sock)
        if family == socket.AF_INET6:
            accept_only_ipv6(sock)
        sock.bind(address)
        sock.listen(LISTEN_BACKLOG)
        sock.setblocking(False)
        stack.pop_all()
    return sock


async def listen_on(
    bind: str,
    port: int,
    loopbacks: Sequence[str] = LOOPBACKS,
    listen: _Listen = listening_socket,
) -> list[socket.socket]:
    """Return sockets that listen on one port, or for 0 on one that the system chooses.

    The name localhost stands for the `loopbacks` (RFC 6761 section 6.3), whatever /etc/hosts has.
    Raises OSError.
    """
    addresses = await _resolve(bind, port, loopbacks)
    tries = _MAX_TRIES if port == 0 and len(addresses) > 1 else 1
    while True:
        tries -= 1
        try:
            return _listen_on_all(addresses, listen)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:
                raise


async def _resolve(bind: str, port: int, loopbacks: Sequence[str]) -> list[_SocketAddress]:
    host = bind[1:-1] if bind.startswith("[") and bind.endswith("]") else bind
    loop = asyncio.get_running_loop()
    addresses: list[_SocketAddress] = []
    for name in loopbacks if host.lower() == "localhost" else (host,):
        infos = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses += [(family, address) for family, _type, _protocol, _name, address in infos]
    return list(dict.fromkeys(addresses))


def _listen_on_all(addresses: Sequence[_SocketAddress], listen: _Listen) -> list[socket.socket]:
    """Listen on all addresses, on the port of the first one; leave out those that are missing."""
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        missing: OSError | None = None
        for family, address in addresses:
            port = sockets[0].getsockname()[1] if sockets else address[1]
            try:
                sock = stack.enter_context(listen(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _MISSING_ADDRESS:
                    raise
                missing = error
            else:
                sockets.append(sock)
        if not sockets and missing is not None:
            raise missing
        stack.pop_all()
    return sockets


def shown(sockets: Sequence[socket.socket]) -> Iterator[str]:
    """Yield the addresses of listening sockets."""
    for sock in sockets:
        yield format_authority(*sock.getsockname()[:2])
