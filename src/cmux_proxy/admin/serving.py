"""The admin listener itself: sockets, and the application on them, in the running event loop."""

import logging
import socket
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cmux_proxy.admin.app import Pages, Source
from cmux_proxy.admin.reach import UNKNOWN, Reach
from cmux_proxy.settings import Access

# At the end, readers of events have so many seconds.
_PATIENCE: Final = 0.1


class OurDefects(logging.Filter):
    """Lets defects of ours be logged, and not what a client says that is no HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log it."""
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_log = logging.getLogger("cmux_proxy.admin")
_log.addFilter(OurDefects())


class AdminListener:
    """Answers on sockets that listen, which are its own from now on."""

    def __init__(
        self, source: Source, sockets: Sequence[socket.socket], access: Access,
        per_port: bool, reach: Reach = UNKNOWN,
    ) -> None:  # fmt: skip
        self._sockets = sockets
        pages = Pages(source, access, per_port, reach)
        self.replace_tokens = pages.replace_tokens
        self._runner = web.AppRunner(
            pages.app(),
            handle_signals=False,
            # Whoever has left wants no more news.
            handler_cancellation=True,
            access_log=None,
            logger=_log,
            shutdown_timeout=_PATIENCE,
        )

    async def start(self) -> None:
        """Answer from now on."""
        await self._runner.setup()
        for sock in self._sockets:
            await web.SockSite(self._runner, sock).start()

    async def close(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()
