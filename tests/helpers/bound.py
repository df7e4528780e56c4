"""Sockets as the proxy binds them, for as long as a block lasts."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cmux_proxy.config.address import Address
from cmux_proxy.server.binding import bind

LOCAL: Final = Address("127.0.0.1", 0)


@contextmanager
def bound_sockets() -> Iterator[list[socket.socket]]:
    """Bind one to a port of its own."""
    bound = bind([LOCAL])
    try:
        yield bound
    finally:
        for sock in bound:
            sock.close()
