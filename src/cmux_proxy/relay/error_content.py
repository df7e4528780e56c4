"""In which form a failure is told: one line of text, JSON, or a page for a person.

Knows what a request says about that, which nobody looks at unless the proxy answers by itself.
Neighbours: `failures.py` has what is told, `error_page.py` the page.
"""

import json
from typing import Final

from cmux_proxy.http1.field_lines import field_values
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.local_reply import Content, text_content
from cmux_proxy.machine.listening import find_ports_at
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.relay.error_page import FIELDS, Page
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.services import Context
from cmux_proxy.routing.target import Target

_VARY: Final = b"Vary: Accept, Sec-Fetch-Mode\r\n"
_JSON: Final = "application/json"


def presented(
    context: Context, request: RequestHead, failure: Failure, target: Target | None
) -> Content:
    """Return the content of an answer; `target` is the one that was refused, if one was."""
    section = request.section()
    if b"navigate" in field_values(section, b"sec-fetch-mode"):
        return _page(context, request, failure, target)
    if _prefers_json(field_values(section, b"accept")):
        fields = {"status": failure.status, "error": failure.error, "message": failure.text}
        return Content(_JSON, json.dumps(fields).encode("ascii") + b"\n", _VARY)
    return text_content(failure.text)


def _page(
    context: Context, request: RequestHead, failure: Failure, target: Target | None
) -> Content:
    page = Page(failure.status, failure.text, request.method == b"GET")
    if target is not None:
        host = request.fields.host or b""
        page.tell_ports(target.port, _others(context, target), host.decode("ascii", "replace"))
    return Content("text/html; charset=utf-8", page.body(), FIELDS + _VARY)


def _others(context: Context, target: Target) -> list[int]:
    """Return the ports that listen beside the one that does not, as far as they may be reached."""
    hosts = LOOPBACKS if target.host in LOOPBACKS else (target.host,)
    access = context.access
    return [
        port
        for port in find_ports_at(hosts)
        if (access is None or access.allows_port(port))
        and not any(context.is_own(host, port) for host in hosts)
    ]


def _prefers_json(values: list[bytes]) -> bool:
    """Return whether JSON is named in Accept, and no text is liked better (RFC 9110 12.5.1)."""
    liked: dict[str, float] = {}
    for entry in b",".join(values).decode("latin-1").lower().split(","):
        kind, *parameters = (part.strip(" \t") for part in entry.split(";"))
        liked[kind] = _weight(parameters)
    json_liked = liked.get(_JSON, 0.0)
    return json_liked > 0 and json_liked >= max(liked.get("text/plain", 0), liked.get("text/*", 0))


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            whole, _, rest = value.partition(".")
            is_weight = whole in ("0", "1") and (not rest or (rest.isascii() and rest.isdecimal()))
            return float(value) if is_weight else 0.0
    return 1.0
