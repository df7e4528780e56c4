"""cmux-proxy healthcheck: checks that the proxy responds on its addresses.

It sends a request without a port, so that the proxy responds itself, usually with a 400, and with
Proxy-Status. No path is reserved for it, so that services can use all paths.
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
_MAX_HEAD: Final = 64 * 1024
_SERVER_ERROR: Final = 500


@click.command("healthcheck")
@click.option(
    "--listen",
    type=ListType("ADDRESS", listen_entry),
    multiple=True,
    help="Addresses to check instead of those in the proxy's variables and file; all of them have "
    "to respond.",
)
@click.option(
    "--timeout", type=DurationType(), default=3.0, show_default="3s",
    help="Longest time for each response.",
)  # fmt: skip
@click.pass_context
def healthcheck_command(
    context: click.Context, listen: Sequence[Sequence[str]], timeout: float
) -> None:
    """Check that the proxy responds: the exit status is 0 if it does, otherwise 1."""
    if not listen and context.parent is not None:
        listen = context.parent.params["listen"]
    if not timeout:
        raise click.BadParameter("0 leaves no time to respond", param_hint="--timeout")
    for address in addresses_to_check([text for texts in listen for text in texts]):
        problem = _problem(address, timeout)
        if problem:
            raise click.ClickException(f"{address} is not healthy: {problem}")


def addresses_to_check(texts: Sequence[str]) -> list[Address]:
    """Return the addresses to connect to, each once; raise BadParameter if one has none."""
    addresses: list[Address] = []
    for text in texts:
        entry = listen_entry(text)
        if isinstance(entry, int) or not (entry.port or entry.path):
            raise click.BadParameter(
                f"{text!r} is not an address to connect to", param_hint="--listen"
            )
        addresses.append(Address(reached_host(entry.host), entry.port, entry.path))
    return list(dict.fromkeys(addresses))


def _problem(address: Address, timeout: float) -> str:
    """Return the problem of the proxy at an address, empty if there is none."""
    try:
        with _connect(address, timeout) as sock:
            sock.sendall(_REQUEST)
            received = _ReceivedBytes(_read_head(sock, time.monotonic() + timeout))
            response = HTTPResponse(cast(socket.socket, received), method="OPTIONS")
            response.begin()
    except OSError as error:
        return error.strerror or str(error)
    except HTTPException:
        return "the response is not HTTP"
    if not response.getheader("Proxy-Status", "").startswith("cmux-proxy;"):
        return "another server has responded"
    if response.status >= _SERVER_ERROR:
        return f"the response is a {response.status}"
    return ""


def _read_head(sock: socket.socket, deadline: float) -> bytes:
    """Return the bytes up to the end of a head, or of the connection; raise TimeoutError."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(remaining)
        data = sock.recv(_MAX_HEAD)
        if not data:
            break
        head += data
    return head


class _ReceivedBytes:
    """The bytes that a socket has received, in the place of the socket for HTTPResponse."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """Return the bytes as a file."""
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
