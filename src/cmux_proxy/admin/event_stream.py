"""Server-Sent Events: one event for all readers, made only while there are readers.

Does not know what an event holds: `overview.py` makes it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from aiohttp import web

# Seconds between two events for a reader.
_INTERVAL: Final = 1.0
# Seconds for which an event is sent to other readers too.
_MAX_AGE: Final = 0.5
# Seconds within which a reader has to take an event, or its connection is dropped. Meanwhile its
# transport holds a few chunks; the event itself is the same object for all readers.
WRITE_TIMEOUT: Final = 10.0
_CHUNK: Final = 32 * 1024


class EventStream:
    """Sends what `make` returns, an event as bytes, to at most `max_readers` at a time."""

    def __init__(
        self,
        make: Callable[[], Coroutine[Any, Any, bytes]],
        headers: Mapping[str, str],
        max_readers: int,
        write_timeout: float = WRITE_TIMEOUT,
    ) -> None:
        self._make = make
        # Readers keep their connections, and other requests need connections too.
        self._max_readers = max_readers
        self._headers = {"Content-Type": "text/event-stream", **headers}
        self._write_timeout = write_timeout
        self._readers = 0
        self._event: asyncio.Task[bytes] | None = None
        self._stale_at = 0.0

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Send events until the reader leaves or no worker responds."""
        if self._readers >= self._max_readers:
            raise web.HTTPServiceUnavailable(reason=f"{self._max_readers} read events already")
        self._readers += 1
        try:
            return await self._send_events(request)
        finally:
            self._readers -= 1

    async def _send_events(self, request: web.Request) -> web.StreamResponse:
        event = await self._next_event()
        response = web.StreamResponse(headers=self._headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        with contextlib.suppress(web.HTTPServiceUnavailable, ConnectionResetError):
            while await self._send(request, response, event):
                await asyncio.sleep(_INTERVAL)
                event = await self._next_event()
        return response

    def _next_event(self) -> "asyncio.Future[bytes]":
        """Return an event, which is made once for all readers that need one at about this time."""
        loop = asyncio.get_running_loop()
        if self._event is None or (self._event.done() and loop.time() >= self._stale_at):
            self._stale_at = loop.time() + _MAX_AGE
            self._event = loop.create_task(self._make())
        # A reader that leaves must not cancel the event of the others.
        return asyncio.shield(self._event)

    async def _send(self, request: web.Request, response: web.StreamResponse, event: bytes) -> bool:
        """Write an event; return False, and drop the connection, if it is not taken in time."""
        try:
            async with asyncio.timeout(self._write_timeout):
                for start in range(0, len(event), _CHUNK):
                    await response.write(event[start : start + _CHUNK])
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            return False
        return True
