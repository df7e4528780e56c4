"""The admin listener beside a proxy: in its process, or in one of its own beside several workers.

What it needs is imported only where it is wanted.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cmux_proxy.config.proxy_config import Address, Config
from cmux_proxy.net.acceptor import AcceptedConnections
from cmux_proxy.server.binding import adopt_sockets, bind, bound_address
from cmux_proxy.server.connection_limits import max_admin_connections
from cmux_proxy.server.listener import Listener
from cmux_proxy.server.optional_packages import require_packages
from cmux_proxy.server.reload import ReplaceTokens, reload
from cmux_proxy.server.signals import HANGUP, UNUSED, SignalQueue, handled_signals, log_unused
from cmux_proxy.server.stats_rpc import OneWorker, SeveralWorkers

if TYPE_CHECKING:
    from cmux_proxy.admin.app import Pages

_log = logging.getLogger("cmux_proxy")


def open_admin(config: Config) -> tuple[Config, list[socket.socket]]:
    """Bind the admin listener, if one is wanted; raise ConfigError or ListenError.

    Return the configuration with its real address, and its sockets.
    """
    admin = config.observability.admin
    if admin is None:
        return config, []
    require_packages("observability.admin", "admin", ("aiohttp", "prometheus_client"))
    asked = Address.parse(admin, "observability.admin")
    sockets = bind([asked], config.observability.admin_unix_mode)
    address = bound_address(sockets[0])
    if address != asked:
        _log.info("admin listener on %s", address)
    observability = replace(config.observability, admin=str(address))
    return replace(config, observability=observability), sockets


@contextlib.asynccontextmanager
async def administered(
    config: Config,
    sockets: Sequence[socket.socket],
    source: OneWorker | SeveralWorkers,
    addresses: Sequence[Address] = (),
) -> AsyncIterator[list[ReplaceTokens]]:
    """Answer on the admin listener's sockets, if there are any, while the context lasts.

    `addresses` are those at which the proxy itself listens, for links to it. Give what takes tokens
    that were read again.
    """
    if not sockets:
        yield []
        return
    from cmux_proxy.admin.app import Pages
    from cmux_proxy.admin.reachability import Reachability

    reach = Reachability.of(config, addresses)
    most = max_admin_connections()
    # Readers of events stay; a quarter is left to all others.
    readers = most * 3 // 4
    pages = Pages(source, config.access, config.observability.metrics_per_port, reach, readers)
    listener = AdminListener(pages, sockets, most)
    await listener.start()
    try:
        yield [pages.replace_tokens]
    finally:
        await listener.close()


class AdminListener:
    """Answers on sockets that listen, which are its own from now on."""

    def __init__(self, pages: "Pages", sockets: Sequence[socket.socket], most: int) -> None:
        from cmux_proxy.admin.admin_site import AdminServer

        self._server = AdminServer(pages, most, self._pace_accepting)
        connections = self._server.connections
        arrivals = AcceptedConnections(
            asyncio.get_running_loop(), connections.open, connections.has_room
        )
        self._listener = Listener(arrivals, adopt_sockets(sockets), accepts_bursts=False)

    async def start(self) -> None:
        """Answer from now on."""
        await self._server.start()
        await self._listener.start()

    async def close(self) -> None:
        """Answer no more."""
        self._listener.close()
        await self._server.close()

    def _pace_accepting(self) -> None:
        """Leave new connections in the kernel's queue while there is no room for them."""
        if self._server.connections.is_full:
            self._listener.pause()
        else:
            self._listener.resume()


def run_admin(
    config: Config,
    sockets: Sequence[socket.socket],
    channels: Sequence[socket.socket],
    lifeline: socket.socket,
    addresses: Sequence[Address] = (),
) -> None:
    """In a process of its own: answer for the workers at `channels` until SIGTERM or the end.

    `addresses` are those at which the workers listen.
    """
    with SignalQueue(exits_on_second_stop=False) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled_signals())
        answering = administered(config, sockets, SeveralWorkers(channels), addresses)
        asyncio.run(_serve(answering, config, signals, lifeline))
        signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())


async def _serve(
    answering: contextlib.AbstractAsyncContextManager[list[ReplaceTokens]],
    config: Config,
    signals: SignalQueue,
    lifeline: socket.socket,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(lifeline, stop.set)
    async with answering as takers:

        def act(number: int) -> None:
            # A terminal's interrupt and its end go to all processes, and this one ends last.
            if number == signal.SIGTERM:
                stop.set()
            elif number in UNUSED:
                log_unused(number)
            elif number == HANGUP:
                reload(config, None, takers)

        signals.attach(lambda number: loop.call_soon_threadsafe(act, number))
        with contextlib.suppress(OSError):
            lifeline.send(b"\0")
        await stop.wait()
        signals.detach()
    loop.remove_reader(lifeline)
