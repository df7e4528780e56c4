"""Connects one socket to one IP address, which needs no name server.

Knows the event loop and nothing of targets. Neighbours: `happy_eyeballs.py` tries several
addresses, `upstream/connector.py` picks them.
"""

import errno
import os
import socket

from cmux_proxy.net.ipv6_zone import to_sockaddr
from cmux_proxy.net.readiness import wait_writable
from cmux_proxy.net.socket_options import refuse_itself, tune
from cmux_proxy.net.stream import Loop

_PENDING = (errno.EINPROGRESS, errno.EALREADY)


class ConnectTimeout(Exception):
    """The peer has not responded within the caller's timeout; not an error of the system."""


async def connect_tuned(
    loop: Loop, sock: socket.socket, host: str, port: int, timeout: float | None = None
) -> None:
    """Connect a new socket to an IP address, with our options; close it where that fails."""
    try:
        sock.setblocking(False)
        tune(sock, host)
        await connect(loop, sock, host, port, timeout)
        refuse_itself(sock, port)
    except BaseException:
        sock.close()
        raise


async def connect(
    loop: Loop, sock: socket.socket, host: str, port: int, timeout: float | None = None
) -> None:
    """Connect a non-blocking socket; raise OSError, or ConnectTimeout after `timeout` seconds.

    The loops have a method for it, but uvloop's looks the address up once more, in one of the few
    threads that look names up: it takes twice as long, and where all threads wait for a name server
    that does not respond, no connection could be made.
    """
    address = to_sockaddr(host, port)
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        # On the loopback, the connection exists or is refused by now.
        error = sock.connect_ex(address)
    if error in _PENDING:
        await wait_writable(loop, sock.fileno(), timeout)
        error = sock.connect_ex(address)
    if error in _PENDING:
        raise ConnectTimeout
    if error and error != errno.EISCONN:
        raise OSError(error, os.strerror(error))
