"""Looks names up with the system's resolver.

A name server that does not respond blocks a thread for seconds. Neighbours: `net/blocking.py` has
the threads, `dns_cache.py` limits how many there are.
"""

import socket
from functools import partial

from cmux_proxy.net.blocking import run_in_thread
from cmux_proxy.net.happy_eyeballs import AddressInfo
from cmux_proxy.net.stream import Loop


class Resolver:
    """The resolver of one event loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    async def look_up(self, host: str) -> list[AddressInfo]:
        """Return the addresses of a name, for TCP and port 0; raise OSError or UnicodeError."""
        return await run_in_thread(self._loop, partial(_look_up, host))


def _look_up(host: str) -> list[AddressInfo]:
    return list(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM))
