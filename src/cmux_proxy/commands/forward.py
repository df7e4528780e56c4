"""cmux-proxy forward 16379:6379 URL: listens on local ports, and opens a tunnel per connection."""

import asyncio
import errno
import resource
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import click

from cmux_proxy.client.client_options import UrlType, header_lines, proxy_options, via_option
from cmux_proxy.client.local_ports import listen_on, shown
from cmux_proxy.client.open_tunnel import TunnelError, system_error_text
from cmux_proxy.client.pipe import join
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.client.tunnel_ways import TunnelOpener, Via
from cmux_proxy.commands.output import warn
from cmux_proxy.commands.status_line import StatusLine
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.config.values import PortRange
from cmux_proxy.server.connection_limits import raise_descriptor_limit

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class Forward(NamedTuple):
    """A local port, 0 if the system chooses it, and the port behind the proxy."""

    local: int
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "16379:6379" or "5432"; raise ValueError with one clause."""
        left, colon, right = text.rpartition(":")
        try:
            port = PortRange.parse(right)
            local = port if not colon else PortRange(0, 0) if left == "0" else PortRange.parse(left)
        except ValueError:
            local = port = PortRange(0, 1)
        if local.first != local.last or port.first != port.last:
            raise ValueError(f"{text!r} is neither a port nor LOCAL:PORT, such as 16379:6379")
        return cls(local.first, port.first)


class _ForwardType(click.ParamType[Forward]):
    name = "[LOCAL:]PORT"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Forward:
        try:
            return Forward.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("forward")
@click.argument("forwards", type=_ForwardType(), nargs=-1, required=True, metavar="[LOCAL:]PORT...")
@click.argument("url", type=UrlType())
@click.option("--bind", default="127.0.0.1", show_default=True, help="Local address to listen on.")
@via_option
@proxy_options
def forward_command(
    forwards: Sequence[Forward],
    url: ProxyUrl,
    bind: str,
    workspace: str | None,
    via: Via,
    headers: Sequence[str],
    token_file: Tokens | None,
    timeout: float,
) -> None:
    """Listen on local ports, and forward each connection to a port behind the proxy at URL."""
    if token_file is not None and token_file.warning:
        warn(f"cmux-proxy: WARNING: {token_file.warning}")
    lines = header_lines(headers, token_file)
    requests = [
        (forward.local, TunnelRequest(forward.port, workspace, lines)) for forward in forwards
    ]
    # Each connection needs two descriptors.
    raise_descriptor_limit()
    asyncio.run(_run(Forwarder(url, via, timeout), bind, requests))


async def _run(
    forwarder: "Forwarder", bind: str, requests: Sequence[tuple[int, TunnelRequest]]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(forwarder.handle_exception)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    for local, request in requests:
        await forwarder.listen(bind, local, request)
    await stop.wait()
    forwarder.close()


class Forwarder:
    """Forwards connections through tunnels of one proxy; shows how many, and how many bytes."""

    def __init__(self, url: ProxyUrl, via: Via, timeout: float) -> None:
        self._url = url
        self._opener = TunnelOpener.of_user(url, via, timeout)
        self._status = StatusLine()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        self._closed = 0
        self._sent = 0
        self._received = 0
        self._is_waiting = False

    async def listen(self, bind: str, local: int, request: TunnelRequest) -> None:
        """Listen for connections to a port; raise ClickException if that is not possible."""
        try:
            sockets = await listen_on(bind, local)
        except UnicodeError as error:
            # A name with an empty or too long label is not resolved.
            raise click.ClickException(f"cannot listen on {bind}:{local}: {error}") from None
        except OSError as error:
            reason = system_error_text(error)
            if error.errno == errno.EADDRINUSE:
                reason += f"; name another local port, as in 0:{request.port}"
            raise click.ClickException(f"cannot listen on {bind}:{local}: {reason}") from None
        for sock in sockets:
            server = await asyncio.start_server(partial(self._accept, request), sock=sock)
            self._servers.append(server)
        for address in shown(sockets):
            self._status.print_above(f"forwarding {address} to port {request.port} at {self._url}")
        self._show()

    def close(self) -> None:
        """Stop listening; open connections end with the process."""
        for server in self._servers:
            server.close()
        self._status.end()

    def handle_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report one line if asyncio cannot accept, which it retries; log any other exception."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _OUT_OF_DESCRIPTORS:
            loop.default_exception_handler(context)
        elif not self._is_waiting:
            self._is_waiting = True
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            remedy = f"all {limit} file descriptors are in use; `ulimit -n` raises the limit"
            self._status.warn_above(f"cmux-proxy: error: connections have to wait: {remedy}")

    def _accept(
        self, request: TunnelRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # In Python 3.11 the tasks that asyncio creates for coroutines here log an error if they end
        # with the process.
        task = asyncio.get_running_loop().create_task(self._serve(request, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, request: TunnelRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open += 1
        self._show()
        try:
            tunnel = await self._opener.open(request)
            await join(reader, writer, *tunnel, self._count_sent, self._count_received)
        except TunnelError as error:
            writer.transport.abort()
            self._status.warn_above(f"cmux-proxy: error: {error}")
        finally:
            self._open -= 1
            self._closed += 1
            self._is_waiting = False
            self._show()

    def _count_sent(self, count: int) -> None:
        self._sent += count

    def _count_received(self, count: int) -> None:
        self._received += count

    def _show(self) -> None:
        text = f"{self._open} open, {self._closed} done, {_size_text(self._sent)} sent"
        self._status.update(f"{text}, {_size_text(self._received)} received")


def _size_text(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
