"""Sockets that are bound as the proxy binds them, and closed at the end of a block."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cmux_proxy.config.address import Address
from cmux_proxy.server.binding import bind

LOCAL: Final = Address("127.0.0.1", 0)


@contextmanager
def bound_sockets() -> Iterator[list[socket.socket]]:
    """Bind one socket to a free port."""
    bound = bind([LOCAL])
    try:
        yield bound
    finally:
        for sock in bound:
            sock.close()
