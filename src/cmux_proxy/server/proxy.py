"""Proxy: the object that an embedder holds. The composition root: builds what one worker needs.

Runs in the event loop in which it is started. Does not know signals, processes or the set-up of
logging.
"""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from cmux_proxy.config.address import IPV4_WILDCARD, IPV6_WILDCARD, Address
from cmux_proxy.config.proxy_config import DEFAULT_UPSTREAM_HOST, Config
from cmux_proxy.downstream.admission import Admission
from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.net.backends import Backend, make_backend
from cmux_proxy.observe.access_log import log
from cmux_proxy.observe.observer import Sink
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services
from cmux_proxy.routing.router import Router
from cmux_proxy.server.binding import (
    adopt_sockets,
    bound_address,
    open_sockets,
    reachable_addresses,
)
from cmux_proxy.server.connection_limits import connection_limits, reserved_for_admin
from cmux_proxy.server.drain import Drain, announce_drain, log_closed
from cmux_proxy.server.listener import Listener
from cmux_proxy.server.reload import load_certificates
from cmux_proxy.server.self_addresses import SelfAddresses
from cmux_proxy.server.telemetry import Telemetry
from cmux_proxy.upstream.upstream_tls import UpstreamTls

if TYPE_CHECKING:
    from cmux_proxy.net.tls_contexts import TlsServer
    from cmux_proxy.observe.worker_stats import WorkerStats
    from cmux_proxy.server.tls_reload import Certificates


class Proxy:
    """A proxy with the given configuration; `router` replaces the routing rules.

    `on_record` receives the records of the access log instead of the logger. It is called in the
    event loop, and must neither block nor raise.
    Use the proxy as an asynchronous context manager, or call `start` and later `drain` or `close`.
    """

    def __init__(
        self,
        config: Config | None = None,
        router: Router | None = None,
        on_record: Sink | None = None,
    ) -> None:
        self._config = Config() if config is None else config
        self._on_record = on_record or log
        self._router = router or _default_router(self._config)
        self._addresses: list[Address] = []
        self._services: Services | None = None
        self._telemetry: Telemetry | None = None
        self._backend: Backend | None = None
        self._listener: Listener | None = None
        self._certificates: Certificates | None = None
        self._emptied = asyncio.Event()
        self._drain: Drain | None = None

    @property
    def addresses(self) -> list[Address]:
        """The addresses bound, with the ports that were chosen for port 0."""
        return list(self._addresses)

    @property
    def services(self) -> Services:
        """What its connections use, for tests; raises RuntimeError before the start. Not stable."""
        if self._services is None:
            raise RuntimeError("the proxy has not been started")
        return self._services

    @property
    def http1_tls(self) -> "TlsServer | None":
        """What opens TLS sessions without HTTP/2; None without certificates. Not stable."""
        return None if self._certificates is None else self._certificates.http1_server

    async def start(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Bind and accept; raise ListenError, or RuntimeError if it has been started already.

        With `sockets`, which must listen already, nothing is bound; the proxy owns and closes them.
        """
        if self._services is not None:
            raise RuntimeError("the proxy has been started already")
        certificates = self._certificates = load_certificates(self._config)
        upstream_tls = UpstreamTls(self._config.upstreams.ca)
        sockets = open_sockets(self._config) if sockets is None else adopt_sockets(sockets)
        self._addresses = [bound_address(sock) for sock in sockets]
        addresses = [*reachable_addresses(sockets), *_admin_addresses(self._config)]
        self_addresses = SelfAddresses(addresses)
        has_admin = self._config.observability.admin is not None
        reserved = reserved_for_admin(self._config.workers) if has_admin else 0
        limits = connection_limits(self._config.limits.clients, reserved)
        backend = make_backend(asyncio.get_running_loop(), not self._config.no_native_io)
        self._backend = backend
        self._telemetry = Telemetry(self._config.observability, self._on_record)
        services = Services(
            self._config,
            backend,
            self._router,
            self_addresses.covers,
            limits.max_upstreams,
            self._telemetry.observer,
            Admission.from_config(self._config),
            None if certificates is None else certificates.server,
            None if certificates is None else certificates.check,
            upstream_tls,
        )
        services.registry.max_clients = limits.max_clients
        services.registry.budget.max_exchanges = limits.max_exchanges
        services.registry.on_change = self._pace_accepting
        self._services = services
        factory = partial(Http1Connection, services, ExchangePool(services))
        acceptors = backend.make_acceptors(
            sockets, factory, services.registry.has_room, limits.accepts_bursts
        )
        self._listener = Listener(acceptors, sockets)
        try:
            await self._listener.start()
        except OSError:
            self._listener.close()
            backend.close()
            raise
        services.ticker.start()

    async def drain(self, timeout: float | None = None) -> None:
        """Stop accepting, let exchanges finish, close the remaining ones after `timeout` seconds.

        The default is `timeouts.drain`; before that, `timeouts.drain_delay` passes. Idempotent.
        """
        services = self._services
        if services is None:
            return
        await announce_drain(services.registry, self._config.timeouts.drain_delay)
        seconds = self._config.timeouts.drain if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                await self._begin_drain(services, seconds)
                await self._wait_until_empty(services)
        except TimeoutError:
            log_closed(services.registry, seconds)
        await self.close()

    async def close(self) -> None:
        """Close all connections immediately. Idempotent."""
        services = self._services
        if services is None:
            return
        self._stop_accepting()
        if self._drain is not None:
            self._drain.end()
        services.ticker.stop()
        for connection in services.registry.everyone():
            connection.abort()
        await self._wait_until_empty(services)
        for idle in services.pool.drain():
            idle.close()
        services.dialer.close()
        services.splice_pipe.close()
        if self._backend is not None:
            self._backend.close()
        if self._telemetry is not None:
            await self._telemetry.close()

    def replace_tokens(self, tokens: Sequence[str]) -> None:
        """Require one of these tokens from now on; does nothing where no tokens were configured."""
        if self._services is not None and self._services.access is not None:
            self._services.access.replace_tokens(tokens)

    def reload_certificates(self) -> None:
        """Read the files of `tls` again, for new connections; keep the old ones if they are bad."""
        if self._certificates is not None:
            self._certificates.reload()

    def snapshot(self, max_connections: int = 0) -> dict[str, Any]:
        """Return the proxy's statistics as plain data, with at most `max_connections` connections.

        Raises RuntimeError before the start, and where nothing is counted (`observability.admin`).
        """
        return self.stats(max_connections).to_json()

    def stats(self, max_connections: int = 0) -> "WorkerStats":
        """Return what `snapshot` returns, as values that add up with those of other workers."""
        if self._services is None or self._telemetry is None:
            raise RuntimeError("nothing is counted")
        return self._telemetry.stats(self._services, max_connections)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _stop_accepting(self) -> None:
        if self._listener is not None:
            self._listener.close()

    async def _begin_drain(self, services: Services, timeout: float) -> None:
        """Stop accepting, and close idle connections after requests in flight have been read."""
        if self._drain is None:
            self._drain = Drain(services, timeout)
            if self._listener is not None:
                self._listener.finish()
        await self._drain.wait_until_idle_closed()

    async def _wait_until_empty(self, services: Services) -> None:
        """Wait until all client connections have ended."""
        while len(services.registry):
            self._emptied.clear()
            await self._emptied.wait()

    def _pace_accepting(self) -> None:
        """Pause accepting before descriptors run out; resume when there is room again."""
        services = self._services
        listener = self._listener
        if services is None or listener is None:
            return
        if services.registry.is_full:
            listener.pause()
        elif not services.registry.is_draining:
            listener.resume()
        if not len(services.registry):
            self._emptied.set()


def _admin_addresses(config: Config) -> list[Address]:
    """Return the addresses of the admin listener, which must not be an upstream either."""
    if config.observability.admin is None:
        return []
    address = Address.parse(config.observability.admin, "observability.admin")
    if address.host == IPV6_WILDCARD:
        return [address, Address(IPV4_WILDCARD, address.port)]
    return [] if address.path else [address]


def _default_router(config: Config) -> Router:
    return Router(
        config.upstream_host or DEFAULT_UPSTREAM_HOST,
        config.routing.workspace_host,
        config.routing.suffixes(),
    )
