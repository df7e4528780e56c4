"""Streams and loops on asyncio and uvloop: what their transports have no method for.

Each difference between the two loops is known here, and which of them runs: the rooms above ask for
a capability. A transport of TLS has the file descriptor of the socket beneath it, on both loops, so
that a read or write that goes around the transport would move ciphertext.
"""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, cast

from cmux_proxy.net.stream import FirstOwner, Handle, Loop, Stream


def asyncio_loop(loop: Loop) -> asyncio.AbstractEventLoop:
    """Return a Loop as what it is; for modules of `net` that wait or make tasks."""
    return cast(asyncio.AbstractEventLoop, loop)


def is_asyncio(loop: Loop) -> bool:
    """Return whether the event loop is asyncio's own, and not uvloop's."""
    return isinstance(loop, asyncio.BaseEventLoop)


def can_half_close(stream: Stream) -> bool:
    """Return whether `write_eof` may be called: with TLS, both loops raise NotImplementedError."""
    return stream.can_write_eof()


def is_encrypted(stream: Stream) -> bool:
    """Return whether the bytes of a stream are not those of its socket."""
    return stream.get_extra_info("sslcontext") is not None


def scheme(stream: Stream) -> str:
    """Return the scheme of URIs that are reached so: "https" with TLS, otherwise "http"."""
    return "https" if is_encrypted(stream) else "http"


def alpn(stream: Stream) -> str | None:
    """Return the protocol that both ends have chosen in the TLS handshake (RFC 7301), or None."""
    tls = stream.get_extra_info("ssl_object")
    return None if tls is None else tls.selected_alpn_protocol()


def raw_socket(stream: Stream) -> socket.socket | None:
    """Return the open socket beneath a stream, be it below TLS; None where there is none."""
    sock = cast(socket.socket | None, stream.get_extra_info("socket"))
    return None if sock is None or sock.fileno() < 0 else sock


def raw_fd(stream: Stream) -> int:
    """Return the descriptor through which the bytes of a stream pass unchanged.

    Return -1 where there is none, and where the stream is closed or closing.
    """
    if stream.is_closing() or is_encrypted(stream) or stream.get_extra_info("framed"):
        return -1
    sock = cast(socket.socket | None, stream.get_extra_info("socket"))
    return -1 if sock is None else sock.fileno()


def may_splice(stream: Stream) -> bool:
    """Return whether the kernel may move the bytes of a stream."""
    return raw_fd(stream) >= 0


async def open_stream(loop: Loop, sock: socket.socket, owner: FirstOwner) -> None:
    """Make a stream of a connected socket, whose owner is `owner`; must not be cancelled.

    The owner is called before this returns. A cancellation could close the socket twice.
    """
    transport, _ = await asyncio_loop(loop).create_connection(
        lambda: cast(asyncio.BaseProtocol, owner), sock=sock
    )
    _forget_closed(sock, transport)


def start_task(loop: Loop, main: Coroutine[Any, Any, None]) -> Handle:
    """Run a coroutine in the background; the caller keeps what is returned, and may cancel it."""
    return asyncio_loop(loop).create_task(main)


async def sleep(seconds: float) -> None:
    """Wait, while the event loop goes on."""
    await asyncio.sleep(seconds)


def _forget_closed(sock: socket.socket, transport: asyncio.BaseTransport) -> None:
    """Have a socket forget its descriptor if the transport that was made of it has closed it.

    uvloop hands the socket to the transport last of all. Where the connection is lost before, the
    descriptor is closed by then, and its number may be another connection's: it must not be closed
    again, as the socket would close it once nothing refers to it.
    """
    current = transport.get_extra_info("socket")
    if current is None or current.fileno() < 0:
        sock.detach()
