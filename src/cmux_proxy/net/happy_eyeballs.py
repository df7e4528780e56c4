"""Connects to the first of several addresses that accepts, as RFC 8305 says.

Knows nothing of names: the caller has looked them up.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final

import aiohappyeyeballs

from cmux_proxy.net.asyncio_backend import asyncio_loop
from cmux_proxy.net.socket_options import refuse_itself, tune
from cmux_proxy.net.stream import Loop
from cmux_proxy.net.tcp_connect import ConnectTimeout

# As getaddrinfo returns it: family, type, protocol, canonical name, address.
AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]

# RFC 8305 section 5: after how many seconds the next address is tried too.
NEXT_ADDRESS_DELAY: Final = 0.25


async def connect_first(
    loop: Loop,
    infos: Sequence[AddressInfo],
    port: int,
    timeout: float | None = None,
    delay: float = NEXT_ADDRESS_DELAY,
) -> socket.socket:
    """Return a socket with our options, connected to one of `infos`, whose port is `port`.

    Families take turns, and a slow address does not hold up the next. Raise OSError, or
    ConnectTimeout after `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout) as limit:
            sock = await aiohappyeyeballs.start_connection(
                list(infos), happy_eyeballs_delay=delay, interleave=1, loop=asyncio_loop(loop)
            )
    except TimeoutError:
        if limit.expired():
            raise ConnectTimeout from None
        raise
    try:
        tune(sock, str(sock.getpeername()[0]))
        refuse_itself(sock, port)
    except OSError:
        sock.close()
        raise
    return sock
