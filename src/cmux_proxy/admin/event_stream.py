"""News as Server-Sent Events: made once for all who read, and kept for nobody who does not."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from aiohttp import web

# So often a reader gets news, in seconds.
_INTERVAL: Final = 1.0
# For so long news are news for others too.
_FRESH: Final = 0.5
# Who does not take an event within so many seconds is cut off. Meanwhile its transport holds a few
# pieces, and the event itself is the same for all.
_TAKEN_WITHIN: Final = 10.0
_PIECE: Final = 32 * 1024


class Events:
    """Tells what `make` returns, an event as bytes."""

    def __init__(
        self,
        make: Callable[[], Coroutine[Any, Any, bytes]],
        headers: Mapping[str, str],
        max_readers: int,
    ) -> None:
        self._make = make
        # They stay, and others need connections too.
        self._max_readers = max_readers
        self._headers = {"Content-Type": "text/event-stream", **headers}
        self._readers = 0
        self._event: asyncio.Task[bytes] | None = None
        self._stale_at = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Tell news as they come, until the reader or the workers leave."""
        if self._readers >= self._max_readers:
            raise web.HTTPServiceUnavailable(reason=f"{self._max_readers} read events already")
        self._readers += 1
        try:
            return await self._tell(request)
        finally:
            self._readers -= 1

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        told = await self._news()
        response = web.StreamResponse(headers=self._headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        with contextlib.suppress(web.HTTPServiceUnavailable, ConnectionResetError):
            while await _is_taken(request, response, told):
                await asyncio.sleep(_INTERVAL)
                told = await self._news()
        return response

    def _news(self) -> "asyncio.Future[bytes]":
        """Return the news as an event, which is made once for all who ask at about a time."""
        loop = asyncio.get_running_loop()
        if self._event is None or (self._event.done() and loop.time() >= self._stale_at):
            self._stale_at = loop.time() + _FRESH
            self._event = loop.create_task(self._make())
        # Whoever leaves leaves the others theirs.
        return asyncio.shield(self._event)


async def _is_taken(request: web.Request, response: web.StreamResponse, event: bytes) -> bool:
    """Write an event; return whether the reader takes it in time, else cut it off."""
    try:
        async with asyncio.timeout(_TAKEN_WITHIN):
            for start in range(0, len(event), _PIECE):
                await response.write(event[start : start + _PIECE])
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    return True
