"""cmux-proxy connect PORT URL: connects standard input and output to a tunnel."""

import asyncio
import contextlib
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from typing import Final

import click

from cmux_proxy.client.client_options import UrlType, header_lines, proxy_options, via_option
from cmux_proxy.client.open_tunnel import Tunnel, TunnelError, TunnelTimeout
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.client.tunnel_ways import TunnelOpener, Via
from cmux_proxy.commands.output import warn
from cmux_proxy.config.token_file import Tokens

TIMED_OUT: Final = 124
_READ_SIZE: Final = 64 * 1024


@click.command("connect")
@click.argument("port", type=click.IntRange(1, 65535))
@click.argument("url", type=UrlType())
@via_option
@proxy_options
def connect_command(
    port: int,
    url: ProxyUrl,
    workspace: str | None,
    via: Via,
    headers: Sequence[str],
    token_file: Tokens | None,
    timeout: float,
) -> int:
    """Connect standard input and output to a port behind the proxy at URL.

    For ssh: -o ProxyCommand='cmux-proxy connect %p http://vm:8080'
    """
    # Ctrl-C ends the process immediately, even if a write to standard output blocks.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    request = TunnelRequest(port, workspace, header_lines(headers, token_file))
    try:
        asyncio.run(_run(TunnelOpener.of_user(url, via, timeout), request))
    except TunnelTimeout as error:
        warn(f"cmux-proxy: error: {error}")
        return TIMED_OUT
    except TunnelError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"the connection failed: {error.strerror or error}") from None
    return 0


async def _run(opener: TunnelOpener, request: TunnelRequest) -> None:
    tunnel = await opener.open(request)
    if not sys.stdin.isatty():
        # Ctrl-C in a terminal goes to all processes of that terminal. The ProxyCommand of a shared
        # ssh master serves sessions of other terminals too, so that it ends with ssh only.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A thread, because standard input may be a file, for which an event loop cannot wait. A daemon,
    # because only the end of the process ends its read.
    input_thread = threading.Thread(
        target=_send_input, args=(tunnel, asyncio.get_running_loop()), daemon=True
    )
    input_thread.start()
    while data := await tunnel.reader.read(_READ_SIZE):
        await asyncio.to_thread(_write_all, data)
    tunnel.writer.transport.abort()


def _send_input(tunnel: Tunnel, loop: asyncio.AbstractEventLoop) -> None:
    """Send standard input up to its end; read the next data after the last was sent."""
    while data := _read(sys.stdin.fileno()):
        if not _send_blocking(tunnel, loop, data):
            return
    if _send_blocking(tunnel, loop, b""):
        _wait_for_reader_exit(sys.stdout.fileno())
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tunnel.writer.transport.abort)


def _read(descriptor: int) -> bytes:
    """Return the next bytes; no bytes at the end, or if the descriptor cannot be read."""
    while True:
        try:
            return os.read(descriptor, _READ_SIZE)
        except BlockingIOError:
            select.select([descriptor], [], [])
        except OSError:
            return b""


def _wait_for_reader_exit(descriptor: int) -> None:
    """Wait until the other end of a pipe or socket is closed; for any other file, forever."""
    mode = os.fstat(descriptor).st_mode
    poll = select.poll()
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        poll.register(descriptor, 0)
    poll.poll()


def _send_blocking(tunnel: Tunnel, loop: asyncio.AbstractEventLoop, data: bytes) -> bool:
    """Send from another thread, no data for a half-close; return whether that was possible."""
    try:
        return asyncio.run_coroutine_threadsafe(_send(tunnel, data), loop).result()
    except (OSError, RuntimeError):
        # The tunnel or the loop is closed; the reader of the tunnel reports it.
        return False


async def _send(tunnel: Tunnel, data: bytes) -> bool:
    if data:
        tunnel.writer.write(data)
        await tunnel.writer.drain()
    elif tunnel.writer.can_write_eof():
        tunnel.writer.write_eof()
    return True


def _write_all(data: bytes) -> None:
    output = sys.stdout.fileno()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(output, view) :]
        except BlockingIOError:
            select.select([], [output], [])
