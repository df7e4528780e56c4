"""cmux-proxy healthcheck: does the proxy answer on its addresses?

It sends a request that no upstream can get, since it names none: the answer is the proxy's own, a
400 as a rule, and says so in Proxy-Status. So there is no path that would be taken from a service.
"""

import io
import socket
import time
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from typing import Final, cast

import click

from cmux_proxy.config.address import Address, listen_entry
from cmux_proxy.config.option_types import DurationType, ListType
from cmux_proxy.net.loopback import reached_host

_REQUEST: Final = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LARGEST_HEAD: Final = 64 * 1024
_SERVER_ERROR: Final = 500


@click.command("healthcheck")
@click.option(
    "--listen",
    type=ListType("ADDRESS", listen_entry),
    multiple=True,
    help="Where to ask instead of where the proxy's flags, variables and file say; all of it has "
    "to answer.",
)
@click.option(
    "--timeout", type=DurationType(), default=3.0, show_default="3s",
    help="How long each answer may take.",
)  # fmt: skip
@click.pass_context
def healthcheck_command(
    context: click.Context, listen: Sequence[Sequence[str]], timeout: float
) -> None:
    """Say whether the proxy answers, by the exit status: 0 if it does, 1 if not."""
    if not listen and context.parent is not None:
        listen = context.parent.params["listen"]
    if not timeout:
        raise click.BadParameter("0 leaves no time to answer", param_hint="--timeout")
    for address in _addresses([text for texts in listen for text in texts]):
        problem = _problem(address, timeout)
        if problem:
            raise click.ClickException(f"{address} is not well: {problem}")


def _addresses(texts: Sequence[str]) -> list[Address]:
    """Return what can be asked, each once; complain about what cannot."""
    found: list[Address] = []
    for text in texts:
        entry = listen_entry(text)
        if isinstance(entry, int) or not (entry.port or entry.path):
            raise click.BadParameter(f"{text!r} is no place to ask", param_hint="--listen")
        found.append(Address(reached_host(entry.host), entry.port, entry.path))
    return list(dict.fromkeys(found))


def _problem(address: Address, timeout: float) -> str:
    """Return what is wrong at an address, or nothing."""
    try:
        with _connect(address, timeout) as sock:
            sock.sendall(_REQUEST)
            arrived = _Arrived(_head(sock, time.monotonic() + timeout))
            response = HTTPResponse(cast(socket.socket, arrived), method="OPTIONS")
            response.begin()
    except OSError as error:
        return error.strerror or str(error)
    except HTTPException:
        return "the answer is not HTTP"
    if not response.getheader("Proxy-Status", "").startswith("cmux-proxy;"):
        return "somebody else has answered"
    if response.status >= _SERVER_ERROR:
        return f"the answer is a {response.status}"
    return ""


def _head(sock: socket.socket, end: float) -> bytes:
    """Return what arrives until a head is there, or nothing more comes; raise TimeoutError."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LARGEST_HEAD:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)
        piece = sock.recv(_LARGEST_HEAD)
        if not piece:
            break
        head += piece
    return head


class _Arrived:
    """What a socket has brought, in its place."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """Return it as a file."""
        return io.BytesIO(self._data)


def _connect(address: Address, timeout: float) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), timeout)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(address.path)
    except OSError:
        sock.close()
        raise
    return sock
