"""Sockets inside isolated workspaces, for connections to a workspace's address.

A socket belongs to the network namespace in which it was made, wherever it is connected from: the
holder of the workspace's namespace makes one and passes it over. Neighbours: `connector.py` calls
this, `isolation` has the holders.
"""

import socket
from typing import Final

from cmux_proxy.isolation.messages import receive, send
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.net.asyncio_backend import sleep
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.net.readiness import wait_readable
from cmux_proxy.net.stream import Loop
from cmux_proxy.net.tcp_connect import connect_tuned
from cmux_proxy.routing.workspace import WORKSPACE_NETWORK

# How many seconds pass before a holder with a full backlog is tried again.
_PAUSE: Final = 0.005


def may_be_isolated(host: str) -> bool:
    """Return whether this is an address that workspaces have."""
    return host.startswith(WORKSPACE_NETWORK)


async def connect_inside(
    loop: Loop, address: str, port: int, timeout: float | None = None
) -> socket.socket | None:
    """Return a socket that is connected inside; None where the workspace is not isolated.

    Both loopbacks are the workspace's own there, and so is its address. Raises OSError, and
    ConnectTimeout after `timeout` seconds.
    """
    refused = ConnectionRefusedError()
    for host in (*LOOPBACKS, address):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = await _socket_inside(loop, address, family)
            if sock is None:
                return None
            await connect_tuned(loop, sock, host, port, timeout)
        except ConnectionRefusedError as error:
            refused = error
        else:
            return sock
    raise refused


async def _socket_inside(
    loop: Loop, address: str, family: socket.AddressFamily
) -> socket.socket | None:
    channel = await _connect_holder(address)
    if channel is None:
        return None
    with channel:
        try:
            send(channel, {"ask": "socket", "family": family})
            await wait_readable(loop, channel.fileno())
            message = receive(channel)
        except (ConnectionError, EOFError):
            return None  # the last command has just ended
    if not message.descriptors:
        raise ConnectionRefusedError  # there is no IPv6
    return socket.socket(fileno=message.descriptors[0])


async def _connect_holder(address: str) -> socket.socket | None:
    registry = Registry.find()
    if registry is None:
        return None
    with registry:
        while True:
            try:
                return registry.connect(address, timeout=0)
            except BlockingIOError:
                await sleep(_PAUSE)
