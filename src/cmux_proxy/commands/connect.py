"""cmux-proxy connect PORT URL: standard input and output become the two ends of a tunnel."""

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

from cmux_proxy.client.client_options import Url, lines_of, proxy_options
from cmux_proxy.client.open_tunnel import (
    ConnectRequest,
    Tunnel,
    TunnelError,
    TunnelTimeout,
    open_tunnel,
)
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.commands.output import warn
from cmux_proxy.config.token_file import Tokens

TIMED_OUT: Final = 124
_PIECE: Final = 64 * 1024


@click.command("connect")
@click.argument("port", type=click.IntRange(1, 65535))
@click.argument("url", type=Url())
@proxy_options
def connect_command(
    port: int,
    url: ProxyUrl,
    workspace: str | None,
    headers: Sequence[str],
    token_file: Tokens | None,
    timeout: float,
) -> int:
    """Join standard input and output to a port behind the proxy at URL.

    For ssh: -o ProxyCommand='cmux-proxy connect %p http://vm:8080'
    """
    # It ends at once, even amid a write to something that nobody reads.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    wanted = ConnectRequest(port, workspace, lines_of(headers, token_file))
    try:
        asyncio.run(_run(url, wanted, timeout))
    except TunnelTimeout as error:
        warn(f"cmux-proxy: error: {error}")
        return TIMED_OUT
    except TunnelError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"the connection broke: {error.strerror or error}") from None
    return 0


async def _run(url: ProxyUrl, wanted: ConnectRequest, timeout: float) -> None:
    tunnel = await open_tunnel(url, wanted, timeout)
    if not sys.stdin.isatty():
        # Ctrl-C in a terminal goes to all that was started there, a shared ssh master's
        # ProxyCommand included, which has sessions of other terminals. It ends with ssh.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A thread, since standard input may be a file, which no event loop waits for; and one that
    # ends with the process, since nothing else ends its reading.
    reading = threading.Thread(
        target=_send_input, args=(tunnel, asyncio.get_running_loop()), daemon=True
    )
    reading.start()
    while data := await tunnel.reader.read(_PIECE):
        await asyncio.to_thread(_write_all, data)
    tunnel.writer.transport.abort()


def _send_input(tunnel: Tunnel, loop: asyncio.AbstractEventLoop) -> None:
    """Send standard input up to its end; nothing more is read than has left."""
    while data := _read_some(sys.stdin.fileno()):
        if not _has_left(tunnel, loop, data):
            return
    if _has_left(tunnel, loop, b""):
        _await_no_reader(sys.stdout.fileno())
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tunnel.writer.transport.abort)


def _read_some(descriptor: int) -> bytes:
    """Return what comes next; nothing at the end, and where nothing can be read."""
    while True:
        try:
            return os.read(descriptor, _PIECE)
        except BlockingIOError:
            select.select([descriptor], [], [])
        except OSError:
            return b""


def _await_no_reader(descriptor: int) -> None:
    """Wait until nobody can read what is written any more; for ever, if that cannot be told."""
    kind = os.fstat(descriptor).st_mode
    poll = select.poll()
    if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
        poll.register(descriptor, 0)
    poll.poll()


def _has_left(tunnel: Tunnel, loop: asyncio.AbstractEventLoop, data: bytes) -> bool:
    try:
        return asyncio.run_coroutine_threadsafe(_send(tunnel, data), loop).result()
    except (OSError, RuntimeError):
        # The tunnel, or the loop, is gone; whoever reads from it says so.
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
