"""The admin listener's pages: what each path answers, and to whom.

Only reads. A browser that was tricked into asking under a foreign name is refused, and where the
proxy has tokens, whoever has none sees no more than whether it lives.
"""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from cmux_proxy.admin.aggregate import Snapshot, merged
from cmux_proxy.admin.dashboard import dashboard
from cmux_proxy.admin.event_stream import Events
from cmux_proxy.admin.json_views import activity, connections
from cmux_proxy.admin.metrics import registry_of
from cmux_proxy.admin.overview import MOST_TUNNELS, overview
from cmux_proxy.admin.port_metrics import PortFigures
from cmux_proxy.admin.reachability import UNKNOWN, Reachability
from cmux_proxy.admin.worker_history import WorkerHistory
from cmux_proxy.config.sections import Access
from cmux_proxy.config.values import HostPattern
from cmux_proxy.http1.credentials import is_one_of, token_of
from cmux_proxy.machine.listening import ListenerScanner, ListeningPort

# More connections than a process has descriptors for.
_ALL: Final = 1_000_000
_OPEN_TO_ALL: Final = ("/healthz", "/readyz")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Source(Protocol):
    """Where snapshots come from."""

    async def snapshots(self, most: int) -> list[Snapshot]:
        """Return those of the workers that answer, with at most so many connections of each."""
        ...


class Pages:
    """Answers from what `source` tells; of events there are so many readers at a time."""

    def __init__(
        self, source: Source, access: Access, per_port: bool, reach: Reachability = UNKNOWN,
        max_readers: int = 48,
    ) -> None:  # fmt: skip
        self._source = source
        self._ledger = WorkerHistory()
        self.replace_tokens(access.tokens)
        self._hosts = [HostPattern.parse(text) for text in access.allow_hosts]
        self._ports = PortFigures() if per_port else None
        self._reach = reach
        self._survey = ListenerScanner()
        self._survey_lock = asyncio.Lock()
        self._events = Events(self._make_event, _HEADERS, max_readers)

    def replace_tokens(self, tokens: Sequence[str]) -> None:
        """Have these tokens be the ones that count."""
        self._tokens = [token.encode("ascii") for token in tokens]

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard])
        for path, answer in {
            "/": self._dashboard,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/ports": self._listening,
            "/connections": self._connections,
            "/activity": self._activity,
            "/events": self._events.answer,
        }.items():
            app.router.add_get(path, answer)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Refuse whom it is not for."""
        # Browsers name a host. Where there is none, aiohttp puts the listener's own address.
        if "Host" in request.headers and not self._is_own(request.host):
            return _text(421, "this name is not one of the admin listener's (--allow-host)")
        is_open = not self._tokens or request.path in _OPEN_TO_ALL
        if not is_open and not is_one_of(_token_of(request), self._tokens):
            refusal = _text(401, "a token is needed: Authorization: Bearer")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="cmux-proxy"'
            return refusal
        try:
            response = await handler(request)
        except web.HTTPException as error:
            refusal = _text(error.status, error.reason.lower())
            if "Allow" in error.headers:
                # RFC 9110 section 15.5.6
                refusal.headers["Allow"] = error.headers["Allow"]
            return refusal
        if not response.prepared:
            # What an answer says by itself is for it alone.
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def _is_own(self, host: str) -> bool:
        """Return whether a Host is one that nobody can rebind, or that --allow-host allows."""
        name = _name_of(host)
        return _is_direct(name) or any(pattern.matches(name) for pattern in self._hosts)

    async def _told(self, most: int = 0) -> Snapshot:
        snapshots = await self._source.snapshots(most)
        if not snapshots:
            raise web.HTTPServiceUnavailable(reason="No worker answers")
        return merged(self._ledger.complete(snapshots))

    async def _health(self, _request: web.Request) -> web.Response:
        await self._told()
        return _text(200, "ok")

    async def _readiness(self, _request: web.Request) -> web.Response:
        told = await self._told()
        return _text(503, "draining") if told["is_draining"] else _text(200, "ready")

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, kind = _encoder(request.headers.get("Accept", ""))
        body = encode(registry_of(await self._told(), self._ports))
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _activity(self, _request: web.Request) -> web.Response:
        return _json(activity(await self._told()))

    async def _connections(self, _request: web.Request) -> web.Response:
        return _json(connections(await self._told(_ALL)))

    async def _listening(self, _request: web.Request) -> web.Response:
        found = await self._look()
        return _json({"listening": [{**each._asdict(), "family": each.family} for each in found]})

    async def _look(self) -> list[ListeningPort]:
        """Return what listens on this machine; a thread looks, since that takes some time."""
        async with self._survey_lock:
            return await asyncio.to_thread(self._survey.scan)

    async def _dashboard(self, _request: web.Request) -> web.Response:
        page = dashboard()
        headers = {"Content-Security-Policy": page.policy}
        return web.Response(text=page.text, content_type="text/html", headers=headers)

    async def _make_event(self) -> bytes:
        told = await self._told(MOST_TUNNELS)
        shown = overview(told, await self._look(), self._reach)
        text = json.dumps(shown, ensure_ascii=False)
        return f"data: {text}\n\n".encode(errors="backslashreplace")


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """Return what writes metrics down as a client likes it, and the type of that."""
    try:
        return choose_encoder(accept)
    except TypeError:
        # What stands for a version is none, and cannot be compared with one.
        return choose_encoder("")


def _name_of(host: str) -> str:
    """Return a Host in lower case, without its port and without a dot at its end."""
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() else host).lower().removesuffix(".")


def _is_direct(name: str) -> bool:
    """Return whether a host is an address or this machine's own name."""
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _token_of(request: web.Request) -> bytes:
    given = request.headers.get("X-Cmux-Token")
    if given is not None:
        return _as_bytes(given)
    return token_of(_as_bytes(request.headers.get("Authorization", "")))


def _as_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=_HEADERS)


def _json(told: Any) -> web.Response:
    return web.json_response(told)
