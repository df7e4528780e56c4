"""cmux-proxy forward 16379:6379 URL: local ports, each of whose connections gets a tunnel."""

import asyncio
import errno
import resource
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import click

from cmux_proxy.client.client_options import Url, lines_of, proxy_options
from cmux_proxy.client.local_ports import listen_on, shown
from cmux_proxy.client.open_tunnel import ConnectRequest, TunnelError, open_tunnel, system_says
from cmux_proxy.client.pipe import join
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.commands.output import warn
from cmux_proxy.commands.status_line import StatusLine
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.config.values import PortRange
from cmux_proxy.server.connection_limits import raise_descriptor_limit

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class Forward(NamedTuple):
    """A local port, and the port behind the proxy that it leads to; 0 lets the system choose."""

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
@click.argument("url", type=Url())
@click.option("--bind", default="127.0.0.1", show_default=True, help="Local address to listen on.")
@proxy_options
def forward_command(
    forwards: Sequence[Forward],
    url: ProxyUrl,
    bind: str,
    workspace: str | None,
    headers: Sequence[str],
    token_file: Tokens | None,
    timeout: float,
) -> None:
    """Listen on local ports and lead each connection to a port behind the proxy at URL."""
    if token_file is not None and token_file.warning:
        warn(f"cmux-proxy: WARNING: {token_file.warning}")
    lines = lines_of(headers, token_file)
    wanted = [(each.local, ConnectRequest(each.port, workspace, lines)) for each in forwards]
    # Each connection takes two.
    raise_descriptor_limit()
    asyncio.run(_run(Forwarder(url, timeout), bind, wanted))


async def _run(
    forwarder: "Forwarder", bind: str, wanted: Sequence[tuple[int, ConnectRequest]]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(forwarder.hear)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    for local, each in wanted:
        await forwarder.listen(bind, local, each)
    await stop.wait()
    forwarder.close()


class Forwarder:
    """Leads connections through tunnels of one proxy, and tells how many and how much."""

    def __init__(self, url: ProxyUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._status = StatusLine()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        self._done = 0
        self._sent = 0
        self._received = 0
        self._is_short = False

    async def listen(self, bind: str, local: int, wanted: ConnectRequest) -> None:
        """Listen for connections to a port; raise click's exception where that cannot be."""
        try:
            sockets = await listen_on(bind, local)
        except UnicodeError as error:
            # A name with labels that are empty or too long is not looked up at all.
            raise click.ClickException(f"cannot listen on {bind}:{local}: {error}") from None
        except OSError as error:
            reason = system_says(error)
            if error.errno == errno.EADDRINUSE:
                reason += f"; another local port may be given, as in 0:{wanted.port}"
            raise click.ClickException(f"cannot listen on {bind}:{local}: {reason}") from None
        for sock in sockets:
            server = await asyncio.start_server(partial(self._accept, wanted), sock=sock)
            self._servers.append(server)
        for address in shown(sockets):
            self._status.say(f"forwarding {address} to port {wanted.port} at {self._url}")
        self._show()

    def close(self) -> None:
        """Listen no more; what is open ends with the process."""
        for server in self._servers:
            server.close()
        self._status.leave()

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Say in a line that no connection can be accepted, which asyncio tries again; else log."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_DESCRIPTOR:
            loop.default_exception_handler(context)
        elif not self._is_short:
            self._is_short = True
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            remedy = f"all {most} file descriptors are in use; `ulimit -n` raises the limit"
            self._status.warn(f"cmux-proxy: error: connections have to wait: {remedy}")

    def _accept(
        self, wanted: ConnectRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # A task of our own: those that asyncio makes here complain, in Python 3.11, when they end
        # with the process.
        task = asyncio.get_running_loop().create_task(self._serve(wanted, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, wanted: ConnectRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open += 1
        self._show()
        try:
            tunnel = await open_tunnel(self._url, wanted, self._timeout)
            await join(reader, writer, *tunnel, self._count_sent, self._count_received)
        except TunnelError as error:
            writer.transport.abort()
            self._status.warn(f"cmux-proxy: error: {error}")
        finally:
            self._open -= 1
            self._done += 1
            self._is_short = False
            self._show()

    def _count_sent(self, count: int) -> None:
        self._sent += count

    def _count_received(self, count: int) -> None:
        self._received += count

    def _show(self) -> None:
        text = f"{self._open} open, {self._done} done, {_amount(self._sent)} sent"
        self._status.show(f"{text}, {_amount(self._received)} received")


def _amount(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
