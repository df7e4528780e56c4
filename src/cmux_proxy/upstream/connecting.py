"""Connects one socket to one IP address, for which nobody has to be asked.

Knows the event loop and nothing of targets. Neighbour: `dial.py`, which picks the address.
"""

import asyncio
import errno
import os
import socket

from cmux_proxy.upstream.tcp import refuse_itself, tune
from cmux_proxy.upstream.zone import place_of


async def connect_tuned(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int
) -> None:
    """Connect a new socket to an IP address, with our options; close it where that fails."""
    try:
        sock.setblocking(False)
        tune(sock, host)
        await connect(loop, sock, host, port)
        refuse_itself(sock, port)
    except BaseException:
        sock.close()
        raise


async def connect(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int
) -> None:
    """Connect a socket that does not block; raise OSError.

    The loops have a method for it, but uvloop's has the address looked up once more, by one of the
    few threads that look names up: it takes twice as long, and where all of them wait for a name
    server that does not answer, nobody could be connected to.
    """
    error = sock.connect_ex(place_of(host, port))
    if error == errno.EINPROGRESS:
        await _writable(loop, sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


async def _writable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    done = loop.create_future()
    loop.add_writer(descriptor, _end, done)
    try:
        await done
    finally:
        loop.remove_writer(descriptor)


def _end(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
