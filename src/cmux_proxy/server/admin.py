"""Runs the admin listener: in the process of the only worker, or in a process for several workers.

Loaded only where the listener is configured; aiohttp and prometheus_client only in the process that
serves it.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cmux_proxy.config.address import Address
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.net.backends import AsyncioBackend
from cmux_proxy.server.binding import adopt_sockets, bind, bound_address
from cmux_proxy.server.connection_limits import max_admin_connections
from cmux_proxy.server.listener import Listener
from cmux_proxy.server.optional_packages import require_packages
from cmux_proxy.server.reload import ReplaceTokens, load_certificates, reload
from cmux_proxy.server.signals import HANGUP, UNUSED, SignalQueue, handled_signals, log_unused
from cmux_proxy.server.stats_rpc import LocalStats, StatsClient
from cmux_proxy.server.unraisable_errors import hide_errors_of_peers

if TYPE_CHECKING:
    from cmux_proxy.admin.app import AdminApp
    from cmux_proxy.admin.connections import ConnectionTimeouts
    from cmux_proxy.net.tls_contexts import TlsServer
    from cmux_proxy.server.tls_reload import Certificates

_log = logging.getLogger("cmux_proxy")

_WATCH_INTERVAL: Final = 1.0


def open_admin(config: Config) -> tuple[Config, list[socket.socket]]:
    """Bind the admin listener, which must be configured; raise ConfigError or ListenError.

    Return the configuration with its real address, and its sockets.
    """
    admin = config.observability.admin
    if admin is None:
        return config, []
    require_packages("observability.admin", "admin", ("aiohttp", "prometheus_client"))
    configured = Address.parse(admin, "observability.admin")
    sockets = bind([configured], config.observability.admin_unix_mode)
    address = bound_address(sockets[0])
    if address != configured:
        _log.info("admin listener on %s", address)
    observability = replace(config.observability, admin=str(address))
    return replace(config, observability=observability), sockets


@contextlib.asynccontextmanager
async def administered(
    config: Config,
    sockets: Sequence[socket.socket],
    source: LocalStats | StatsClient,
    addresses: Sequence[Address] = (),
    tls: "TlsServer | None" = None,
) -> AsyncIterator[list[ReplaceTokens]]:
    """Serve the admin listener's sockets while the context lasts.

    `addresses` are those at which the proxy itself listens, for links to it. With `tls`, the
    listener speaks TLS beside plain HTTP. Yield the functions
    that take tokens after a reload.
    """
    from cmux_proxy.admin.app import AdminApp
    from cmux_proxy.admin.reachability import Reachability

    reachability = Reachability.of(config, addresses)
    max_connections = max_admin_connections()
    # Readers of events keep their connections; a quarter is left for all others.
    app = AdminApp(
        source,
        config.access,
        config.observability.metrics_per_port,
        reachability,
        max_readers=max_connections * 3 // 4,
    )
    listener = AdminListener(app, sockets, max_connections, tls=tls)
    await listener.start()
    try:
        yield [app.replace_tokens]
    finally:
        await listener.close()


class AdminListener:
    """Serves the application on listening sockets, which it owns."""

    def __init__(
        self,
        app: "AdminApp",
        sockets: Sequence[socket.socket],
        max_connections: int,
        timeouts: "ConnectionTimeouts | None" = None,
        tls: "TlsServer | None" = None,
    ) -> None:
        from cmux_proxy.admin.admin_site import AdminServer
        from cmux_proxy.admin.connections import DEFAULT_TIMEOUTS

        self._server = AdminServer(
            app, max_connections, self._pace_accepting, timeouts or DEFAULT_TIMEOUTS, tls
        )
        connections = self._server.connections
        sockets = adopt_sockets(sockets)
        acceptors = AsyncioBackend(asyncio.get_running_loop()).make_acceptors(
            sockets, connections.open, connections.has_room, accepts_bursts=False
        )
        self._listener = Listener(acceptors, sockets)

    async def start(self) -> None:
        """Accept connections."""
        await self._server.start()
        await self._listener.start()

    async def close(self) -> None:
        """Stop accepting, and close all connections."""
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
    """Serve the admin listener for the workers at `channels`; for a process that does nothing else.

    Returns after SIGTERM, or when the supervisor has closed its end of the lifeline. `addresses`
    are those at which the workers listen.
    """
    hide_errors_of_peers()
    with SignalQueue(exits_on_second_stop=False) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled_signals())
        certificates = load_certificates(config)
        tls = None if certificates is None else certificates.http1_server
        listener = administered(config, sockets, StatsClient(channels), addresses, tls)
        asyncio.run(_serve(listener, config, signals, lifeline, certificates))
        signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())


async def _serve(
    listener: contextlib.AbstractAsyncContextManager[list[ReplaceTokens]],
    config: Config,
    signals: SignalQueue,
    lifeline: socket.socket,
    certificates: "Certificates | None",
) -> None:
    loop = asyncio.get_running_loop()
    reload_certificates = None if certificates is None else certificates.reload
    if certificates is not None:
        _watch(certificates)
    stop = asyncio.Event()
    loop.add_reader(lifeline, stop.set)
    async with listener as subscribers:

        def act(number: int) -> None:
            # A terminal sends SIGINT and SIGHUP to all processes; this one has to end last.
            if number == signal.SIGTERM:
                stop.set()
            elif number in UNUSED:
                log_unused(number)
            elif number == HANGUP:
                reload(config, None, subscribers, reload_certificates)

        signals.attach(lambda number: loop.call_soon_threadsafe(act, number))
        with contextlib.suppress(OSError):
            lifeline.send(b"\0")
        await stop.wait()
        signals.detach()
    loop.remove_reader(lifeline)


def _watch(certificates: "Certificates") -> None:
    """Look at the files of certificates now and then."""
    loop = asyncio.get_running_loop()
    certificates.check(loop.time())
    loop.call_later(_WATCH_INTERVAL, _watch, certificates)
