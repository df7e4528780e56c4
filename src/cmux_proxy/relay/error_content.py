"""The form of an error reply: one line of text, JSON, or a page for a browser.

Reads what the request says about that, which only replies of the proxy itself need. Neighbours:
`failures.py` has the statuses and sentences, `error_page.py` the page.
"""

import json
from typing import Final

from cmux_proxy.http1.local_reply import Content, text_content
from cmux_proxy.machine.listening import find_ports_at
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.error_page import FIELDS, Page
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.services import Services
from cmux_proxy.routing.target import Target

_VARY: Final = b"Vary: Accept, Sec-Fetch-Mode\r\n"
_JSON: Final = "application/json"


def error_content(
    services: Services, request: ClientRequest, failure: Failure, target: Target | None
) -> Content:
    """Return the content of a reply; `target` is the one that refused, if one did."""
    if not failure.error:
        return text_content(failure.text)
    if b"navigate" in request.values(b"sec-fetch-mode"):
        return _page(services, request, failure, target)
    if _prefers_json(request.values(b"accept")):
        fields = {"status": failure.status, "error": failure.error, "message": failure.text}
        return Content(_JSON, json.dumps(fields).encode("ascii") + b"\n", _VARY)
    return text_content(failure.text)


def _page(
    services: Services, request: ClientRequest, failure: Failure, target: Target | None
) -> Content:
    page = Page(failure.status, failure.text, request.method == b"GET")
    if target is not None:
        host = request.host or b""
        page.list_ports(target.port, _others(services, target), host.decode("ascii", "replace"))
    return Content("text/html; charset=utf-8", page.body(), FIELDS + _VARY)


def _others(services: Services, target: Target) -> list[int]:
    """Return the other ports that something listens on and that requests may reach."""
    hosts = LOOPBACKS if target.host in LOOPBACKS else (target.host,)
    access = services.access
    return [
        port
        for port in find_ports_at(hosts)
        if (access is None or access.allows_port(port))
        and not any(services.is_self(host, port) for host in hosts)
    ]


def _prefers_json(values: list[bytes]) -> bool:
    """Return whether Accept names JSON, with at least the weight of text (RFC 9110 12.5.1)."""
    weights: dict[str, float] = {}
    for entry in b",".join(values).decode("latin-1").lower().split(","):
        media_type, *parameters = (part.strip(" \t") for part in entry.split(";"))
        weights[media_type] = _weight(parameters)
    json_weight = weights.get(_JSON, 0.0)
    text_weight = max(weights.get("text/plain", 0), weights.get("text/*", 0))
    return json_weight > 0 and json_weight >= text_weight


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            whole, _, rest = value.partition(".")
            is_weight = whole in ("0", "1") and (not rest or (rest.isascii() and rest.isdecimal()))
            return float(value) if is_weight else 0.0
    return 1.0
