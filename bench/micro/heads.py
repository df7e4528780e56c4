"""Scans and serializes single heads; a name consists of step, message, head and sameness."""

from collections.abc import Callable, Sequence
from functools import partial

from bench.load.scenarios import load_scenarios
from bench.micro.timing import REPEATS, Prepare, Step, always
from cmux_proxy import Limits
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.http1.serialize import (
    ADD_CLOSE,
    serialize_changed_request,
    serialize_request,
    serialize_response,
)
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX

_FIRST = 10_000
_LIMITS = Limits()
_REQUESTS = RequestScanner(
    HeadLimits(_LIMITS.request_line, _LIMITS.header_section, _LIMITS.header_fields),
    ReservedFields(RESERVED_PREFIX, RESERVED_SUFFIX),
)
_RESPONSES = ResponseScanner(
    HeadLimits(_LIMITS.response_head, _LIMITS.response_head, _LIMITS.response_head)
)
_UPGRADE_FIELDS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_MORE_RESPONSE_FIELDS = {
    "Date": "Sat, 22 Nov 2025 12:00:00 GMT",
    "ETag": '"5f2b8c1e9a7d4036"',
    "Last-Modified": "Fri, 21 Nov 2025 12:00:00 GMT",
    "Cache-Control": "private, max-age=0, must-revalidate",
    "Vary": "Accept-Encoding, Cookie",
    "Content-Encoding": "gzip",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Set-Cookie": "theme=dark; Path=/; HttpOnly; SameSite=Lax",
}


def request_bytes(fields: dict[str, str], count: int) -> bytes:
    """Return a request head with `count` in a field."""
    own = {"Host": f"{count}.localhost:8080", "X-Cmux-Port-Internal": "3000"}
    return _head("GET /items/12345 HTTP/1.1", {**own, **fields})


def response_bytes(fields: dict[str, str], count: int) -> bytes:
    """Return a response head with `count` in a field."""
    own = {"Server": "nginx", "Content-Type": "text/plain", "Content-Length": f"{count}"}
    return _head("HTTP/1.1 200 OK", {**own, **fields})


def _head(line: str, fields: dict[str, str]) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def scan(scanner: RequestScanner | ResponseScanner, heads: Sequence[bytes]) -> None:
    """Scan each head."""
    step = scanner.scan
    for head in heads:
        step(head, 0)


def rewrite_requests(heads: Sequence[RequestHead]) -> None:
    """Serialize each head."""
    for head in heads:
        serialize_request(head, b"")


def rewrite_upgrades(heads: Sequence[RequestHead]) -> None:
    """Serialize each request for an upgrade."""
    for head in heads:
        serialize_changed_request(head, None, True, b"", b"")


def rewrite_responses(added_lines: bytes, heads: Sequence[ResponseHead]) -> None:
    """Serialize each head."""
    for head in heads:
        serialize_response(head, added_lines, False, b"")


def scanning(
    scanner: RequestScanner | ResponseScanner, make: Callable[[int], bytes], is_unique: bool
) -> Prepare:
    """Return a function that prepares the scan of the heads of one run."""

    def prepare(run: int) -> Step:
        first = _FIRST + run * REPEATS
        counts = range(first, first + REPEATS) if is_unique else [_FIRST] * REPEATS
        return partial(scan, scanner, [make(count) for count in counts])

    return prepare


def cases() -> dict[str, Prepare]:
    """Return the steps to time."""
    browser = load_scenarios()["get-browser-c64"].fields
    steps: dict[str, Prepare] = {}
    sizes: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        "small": ({}, {}),
        "browser": (browser, _MORE_RESPONSE_FIELDS),
    }
    for size, (request_fields, response_fields) in sizes.items():
        make_request = partial(request_bytes, request_fields)
        make_response = partial(response_bytes, response_fields)
        for sameness in ("repeated", "unique"):
            is_unique = sameness == "unique"
            name = f"{size}-{sameness}"
            steps[f"scan-request-{name}"] = scanning(_REQUESTS, make_request, is_unique)
            steps[f"scan-response-{name}"] = scanning(_RESPONSES, make_response, is_unique)
        steps |= rewriting(size, make_request(_FIRST), make_response(_FIRST))
    return steps


def rewriting(size: str, request_head: bytes, response_head: bytes) -> dict[str, Prepare]:
    """Return the steps that serialize heads of one size."""
    request, response = _REQUESTS.scan(request_head, 0), _RESPONSES.scan(response_head, 0)
    upgrade = _REQUESTS.scan(request_bytes(_UPGRADE_FIELDS, _FIRST), 0)
    if request is None or response is None or upgrade is None:
        return {}
    responses = [response] * REPEATS
    steps: dict[str, Step] = {
        f"rewrite-request-{size}": partial(rewrite_requests, [request] * REPEATS),
        "rewrite-request-upgrade": partial(rewrite_upgrades, [upgrade] * REPEATS),
        f"rewrite-response-{size}": partial(rewrite_responses, b"", responses),
        f"rewrite-response-{size}-close": partial(rewrite_responses, ADD_CLOSE, responses),
    }
    return {name: always(step) for name, step in steps.items()}
