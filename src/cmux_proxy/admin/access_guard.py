"""AccessGuard: which requests the admin listener refuses, by Host, token and method.

A Host that anybody's DNS can point to this machine is refused, so that a web page cannot read the
listener through a browser (DNS rebinding). Where the proxy has tokens, only health checks do
without. Does not know what the paths respond.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from cmux_proxy.config.sections import Access
from cmux_proxy.config.values import HostPattern
from cmux_proxy.http1.credentials import is_one_of, token_of

_OPEN_TO_ALL: Final = ("/healthz", "/readyz")
# Fields of every response.
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AccessGuard:
    """The rules for requests to one admin listener, as a middleware of aiohttp."""

    def __init__(self, access: Access) -> None:
        self.replace_tokens(access.tokens)
        self._hosts = [HostPattern.parse(text) for text in access.allow_hosts]

    def replace_tokens(self, tokens: Sequence[str]) -> None:
        """Accept these tokens from now on, and no others."""
        self._tokens = [token.encode("ascii") for token in tokens]

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request, or handle it; add the fields of every response."""
        # Browsers send a Host. Where there is none, aiohttp takes the listener's own address.
        if "Host" in request.headers and not self._is_own(request.host):
            return text_response(421, "this name is not one of the admin listener's (--allow-host)")
        if not self._is_authorized(request):
            refusal = text_response(401, "a token is needed: Authorization: Bearer")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="cmux-proxy"'
            return refusal
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return _refusal(error)
        if not response.prepared:
            # A handler's own fields take precedence.
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def _is_own(self, host: str) -> bool:
        """Return whether a Host cannot be rebound, or --allow-host allows it."""
        name = _name_of(host)
        return _is_direct(name) or any(pattern.matches(name) for pattern in self._hosts)

    def _is_authorized(self, request: web.Request) -> bool:
        is_open = not self._tokens or request.path in _OPEN_TO_ALL
        return is_open or is_one_of(_token_of(request), self._tokens)


def text_response(status: int, text: str) -> web.Response:
    """Return a response with a line of text and the fields of every response."""
    return web.Response(status=status, text=f"{text}\n", headers=HEADERS)


def _refusal(error: web.HTTPException) -> web.Response:
    refusal = text_response(error.status, error.reason.lower())
    if "Allow" in error.headers:
        # RFC 9110 section 15.5.6
        refusal.headers["Allow"] = error.headers["Allow"]
    return refusal


def _name_of(host: str) -> str:
    """Return a Host in lower case, without its port and a dot at its end."""
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() else host).lower().removesuffix(".")


def _is_direct(name: str) -> bool:
    """Return whether a host is an IP address or localhost."""
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
