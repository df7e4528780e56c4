"""Listens on a local port, of all addresses that a name has: localhost is IPv4 and IPv6."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.net.socket_options import LISTEN_BACKLOG

_Place = tuple[socket.AddressFamily, Any]

# RFC 6761 section 6.3, whatever /etc/hosts says.

# How often another port is tried, if the one that the system chose is taken in the other family.
_MOST_TRIES: Final = 20
# A machine without IPv6 may have ::1 for localhost all the same.
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def listen_on(bind: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on one port, 0 for one of the system's choice; raise OSError."""
    places = await _places(bind, port)
    tries = _MOST_TRIES if port == 0 and len(places) > 1 else 1
    while True:
        tries -= 1
        try:
            return _bound(places)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:
                raise


async def _places(bind: str, port: int) -> list[_Place]:
    host = bind[1:-1] if bind.startswith("[") and bind.endswith("]") else bind
    loop = asyncio.get_running_loop()
    places: list[_Place] = []
    for name in LOOPBACKS if host.lower() == "localhost" else (host,):
        found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places += [(family, address) for family, _type, _protocol, _name, address in found]
    return list(dict.fromkeys(places))


def _bound(places: Sequence[_Place]) -> list[socket.socket]:
    """Bind all of them, to the port that the first one has."""
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        problem: OSError | None = None
        for family, address in places:
            port = sockets[0].getsockname()[1] if sockets else address[1]
            try:
                sockets.append(_listening(opened, family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                problem = error
        if not sockets and problem is not None:
            raise problem
        opened.pop_all()
    return sockets


def _listening(
    opened: contextlib.ExitStack, family: socket.AddressFamily, address: Any
) -> socket.socket:
    with contextlib.ExitStack() as here:
        sock = here.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(LISTEN_BACKLOG)
        sock.setblocking(False)
        opened.push(here.pop_all())
    return sock


def shown(sockets: Sequence[socket.socket]) -> Iterator[str]:
    """Yield where they listen, as a client names it."""
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
