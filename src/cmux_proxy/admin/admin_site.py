"""The server of the admin listener: the application on connections, in the running event loop."""

import logging
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cmux_proxy.admin.app import Answer, Pages
from cmux_proxy.admin.connections import Connections

# At the end, readers of events have so many seconds.
_PATIENCE: Final = 0.1


class OurDefects(logging.Filter):
    """Lets defects of ours be logged, and not what a client says that is no HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log it."""
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log = logging.getLogger("cmux_proxy.admin")
_log.addFilter(OurDefects())


class AdminServer:
    """Answers on connections that somebody else accepts, at most `most` at a time.

    `on_change` is called when there are more or fewer of them.
    """

    def __init__(
        self, pages: Pages, most: int, on_change: Callable[[], None] = lambda: None
    ) -> None:
        app = pages.app()
        app.middlewares.insert(0, self._note)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            # Whoever has left wants no more news.
            handler_cancellation=True,
            access_log=None,
            logger=_log,
            shutdown_timeout=_PATIENCE,
        )
        self.connections = Connections(self._handler, most, on_change)

    async def start(self) -> None:
        """Be ready for connections."""
        await self._runner.setup()

    async def close(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()

    def _handler(self) -> web.RequestHandler:
        return cast(web.Server, self._runner.server)()

    @web.middleware
    async def _note(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Note that a request is under way."""
        with self.connections.request(request.protocol):
            return await handler(request)
