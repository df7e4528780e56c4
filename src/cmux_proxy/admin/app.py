"""AdminApp: the paths of the admin listener and their responses. It only reads.

Does not know sockets or other processes: a StatsSource gives the statistics of the workers.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from cmux_proxy.admin.access_guard import HEADERS, AccessGuard, text_response
from cmux_proxy.admin.dashboard import dashboard
from cmux_proxy.admin.event_stream import WRITE_TIMEOUT, EventStream
from cmux_proxy.admin.json_views import activity, connections
from cmux_proxy.admin.metrics import registry_of
from cmux_proxy.admin.overview import DEFAULT_LIMITS, overview
from cmux_proxy.admin.port_metrics import PortTotals
from cmux_proxy.admin.reachability import UNKNOWN, Reachability
from cmux_proxy.admin.worker_history import WorkerHistory
from cmux_proxy.config.sections import Access
from cmux_proxy.machine.listening import ListenerScanner, ListeningPort
from cmux_proxy.observe.worker_stats import WorkerStats, total_of

# More connections than a process has file descriptors for.
_ALL_CONNECTIONS: Final = 1_000_000


class StatsSource(Protocol):
    """Where the statistics of workers come from."""

    async def workers(self, max_connections: int) -> list[WorkerStats]:
        """Return those of the workers that respond, each with at most `max_connections`."""
        ...


class AdminApp:
    """Responds with the statistics of `source`; `/events` has at most `max_readers` at a time."""

    def __init__(
        self,
        source: StatsSource,
        access: Access,
        has_port_metrics: bool,
        reachability: Reachability = UNKNOWN,
        max_readers: int = 48,
        write_timeout: float = WRITE_TIMEOUT,
    ) -> None:
        self._source = source
        self._history = WorkerHistory()
        self._guard = AccessGuard(access)
        self._ports = PortTotals() if has_port_metrics else None
        self._reachability = reachability
        self._scanner = ListenerScanner()
        self._scanner_lock = asyncio.Lock()
        self._limits = DEFAULT_LIMITS
        self._events = EventStream(self.make_event, HEADERS, max_readers, write_timeout)

    def replace_tokens(self, tokens: Sequence[str]) -> None:
        """Accept these tokens from now on, and no others."""
        self._guard.replace_tokens(tokens)

    def application(self) -> web.Application:
        """Return the application for aiohttp."""
        application = web.Application(middlewares=[self._guard.check])
        for path, handler in {
            "/": self._dashboard,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/ports": self._listening,
            "/connections": self._connections,
            "/activity": self._activity,
            "/events": self._events.respond,
        }.items():
            application.router.add_get(path, handler)
        return application

    async def make_event(self) -> bytes:
        """Return an event for the dashboard."""
        stats = await self._stats(self._limits.max_tunnels)
        data = overview(stats, await self._scan_ports(), self._reachability, self._limits)
        text = json.dumps(data, ensure_ascii=False)
        return f"data: {text}\n\n".encode(errors="backslashreplace")

    async def _stats(self, max_connections: int = 0) -> WorkerStats:
        """Return the sum of all workers; raise a 503 where none responds."""
        workers = await self._source.workers(max_connections)
        if not workers:
            raise web.HTTPServiceUnavailable(reason="No worker responds")
        return total_of(self._history.complete(workers))

    async def _scan_ports(self) -> list[ListeningPort]:
        """Return what listens on this machine, found in a thread because it takes some time."""
        async with self._scanner_lock:
            return await asyncio.to_thread(self._scanner.scan)

    async def _health(self, _request: web.Request) -> web.Response:
        await self._stats()
        return text_response(200, "ok")

    async def _readiness(self, _request: web.Request) -> web.Response:
        stats = await self._stats()
        return text_response(503, "draining") if stats.is_draining else text_response(200, "ready")

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = _encoder(request.headers.get("Accept", ""))
        body = encode(registry_of(await self._stats(), self._ports))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _activity(self, _request: web.Request) -> web.Response:
        return web.json_response(activity(await self._stats()))

    async def _connections(self, _request: web.Request) -> web.Response:
        return web.json_response(connections(await self._stats(_ALL_CONNECTIONS)))

    async def _listening(self, _request: web.Request) -> web.Response:
        sockets = await self._scan_ports()
        return web.json_response(
            {"listening": [{**socket._asdict(), "family": socket.family} for socket in sockets]}
        )

    async def _dashboard(self, _request: web.Request) -> web.Response:
        page = dashboard()
        headers = {"Content-Security-Policy": page.policy}
        return web.Response(text=page.text, content_type="text/html", headers=headers)


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """Return the encoder of metrics for an Accept field, and the content type of its output."""
    try:
        return choose_encoder(accept)
    except TypeError:
        # The version in the field is not a version, and cannot be compared with one.
        return choose_encoder("")
