"""The server of the admin listener: the application, on connections that are accepted elsewhere.

Does not know listening sockets: `server/admin.py` accepts the connections.
"""

import logging
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cmux_proxy.admin.access_guard import Handler
from cmux_proxy.admin.app import AdminApp
from cmux_proxy.admin.connections import DEFAULT_TIMEOUTS, Connections, ConnectionTimeouts
from cmux_proxy.net.tls_contexts import TlsServer

# Seconds that readers of events have at the end.
_SHUTDOWN_TIMEOUT: Final = 0.1


class DefectFilter(logging.Filter):
    """Drops messages about clients that do not speak HTTP, and keeps those about defects."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log it."""
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log = logging.getLogger("cmux_proxy.admin")
_log.addFilter(DefectFilter())


class AdminServer:
    """Serves at most `max_connections` at a time.

    `on_change` is called after their number has changed.
    """

    def __init__(
        self,
        app: AdminApp,
        max_connections: int,
        on_change: Callable[[], None] = lambda: None,
        timeouts: ConnectionTimeouts = DEFAULT_TIMEOUTS,
        tls: TlsServer | None = None,
    ) -> None:
        application = app.application()
        application.middlewares.insert(0, self._track)
        self._runner = web.AppRunner(
            application,
            handle_signals=False,
            # A client that has left needs no response.
            handler_cancellation=True,
            access_log=None,
            logger=_log,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        self.connections = Connections(self._handler, max_connections, on_change, timeouts, tls)

    async def start(self) -> None:
        """Prepare for connections."""
        await self._runner.setup()

    async def close(self) -> None:
        """Close all connections."""
        await self._runner.cleanup()

    def _handler(self) -> web.RequestHandler:
        return cast(web.Server, self._runner.server)()

    @web.middleware
    async def _track(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that the connection has a request under way."""
        with self.connections.request(request.protocol):
            return await handler(request)
