"""Connects one socket to one IP address, for which nobody has to be asked.

Knows the event loop and nothing of targets. Neighbour: `connector.py`, which picks the address.
"""

import asyncio
import errno
import os
import socket

from cmux_proxy.net.ipv6_zone import place_of
from cmux_proxy.net.socket_options import refuse_itself, tune

_PENDING = (errno.EINPROGRESS, errno.EALREADY)


class Unanswered(Exception):
    """The peer has not answered in time, which is no error of the system's."""


async def connect_tuned(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    host: str,
    port: int,
    grace: float | None = None,
) -> None:
    """Connect a new socket to an IP address, with our options; close it where that fails."""
    try:
        sock.setblocking(False)
        tune(sock, host)
        await connect(loop, sock, host, port, grace)
        refuse_itself(sock, port)
    except BaseException:
        sock.close()
        raise


async def connect(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    host: str,
    port: int,
    grace: float | None = None,
) -> None:
    """Connect a socket that does not block; raise OSError, or Unanswered after `grace` seconds.

    The loops have a method for it, but uvloop's has the address looked up once more, by one of the
    few threads that look names up: it takes twice as long, and where all of them wait for a name
    server that does not answer, nobody could be connected to.
    """
    address = place_of(host, port)
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        # On the loopback, the answer is there by now.
        error = sock.connect_ex(address)
    if error in _PENDING:
        await _writable(loop, sock.fileno(), grace)
        error = sock.connect_ex(address)
    if error in _PENDING:
        raise Unanswered
    if error and error != errno.EISCONN:
        raise OSError(error, os.strerror(error))


async def _writable(loop: asyncio.AbstractEventLoop, descriptor: int, grace: float | None) -> None:
    """Wait until a descriptor can be written to, or for `grace` seconds."""
    done = loop.create_future()
    loop.add_writer(descriptor, _end, done)
    timer = None if grace is None else loop.call_later(grace, _end, done)
    try:
        await done
    finally:
        loop.remove_writer(descriptor)
        if timer is not None:
            timer.cancel()


def _end(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
