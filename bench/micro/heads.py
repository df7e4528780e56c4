"""The scan and the rewrite of single heads; names are coordinates: step, kind, head, sameness."""

from collections.abc import Callable, Sequence
from functools import partial

from bench.load.scenarios import load_scenarios
from bench.micro.timing import REPEATS, Prepare, Step, always
from cmux_proxy import Limits
from cmux_proxy.http1.head import HeadLimits, RequestHead, ResponseHead
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
_HANDSHAKE = {
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
    """Return a request head; `count` goes into a field."""
    own = {"Host": f"{count}.localhost:8080", "X-Cmux-Port-Internal": "3000"}
    return _head("GET /items/12345 HTTP/1.1", {**own, **fields})


def response_bytes(fields: dict[str, str], count: int) -> bytes:
    """Return a response head; `count` goes into a field."""
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
    """Make the bytes that leave of each head."""
    for head in heads:
        serialize_request(head, b"")


def rewrite_handshakes(heads: Sequence[RequestHead]) -> None:
    """Make the bytes that leave of each request for an upgrade."""
    for head in heads:
        serialize_changed_request(head, None, True, b"", b"")


def rewrite_responses(added_lines: bytes, heads: Sequence[ResponseHead]) -> None:
    """Make the bytes that leave of each head."""
    for head in heads:
        serialize_response(head, added_lines, False, b"")


def scanning(
    scanner: RequestScanner | ResponseScanner, make: Callable[[int], bytes], is_unique: bool
) -> Prepare:
    """Return what prepares the scan of as many heads as one run takes."""

    def prepare(run: int) -> Step:
        first = _FIRST + run * REPEATS
        counts = range(first, first + REPEATS) if is_unique else [_FIRST] * REPEATS
        return partial(scan, scanner, [make(count) for count in counts])

    return prepare


def cases() -> dict[str, Prepare]:
    """Return what is timed."""
    browser = load_scenarios()["get-browser-c64"].fields
    made: dict[str, Prepare] = {}
    for size, asked, answered in (("small", {}, {}), ("browser", browser, _MORE_RESPONSE_FIELDS)):
        ask, answer = partial(request_bytes, asked), partial(response_bytes, answered)
        for sameness in ("repeated", "unique"):
            is_unique = sameness == "unique"
            made[f"scan-request-{size}-{sameness}"] = scanning(_REQUESTS, ask, is_unique)
            made[f"scan-response-{size}-{sameness}"] = scanning(_RESPONSES, answer, is_unique)
        made |= rewriting(size, ask(_FIRST), answer(_FIRST))
    return made


def rewriting(size: str, asked: bytes, answered: bytes) -> dict[str, Prepare]:
    """Return the rewrites of heads of one size."""
    request, reply = _REQUESTS.scan(asked, 0), _RESPONSES.scan(answered, 0)
    handshake = _REQUESTS.scan(request_bytes(_HANDSHAKE, _FIRST), 0)
    if request is None or reply is None or handshake is None:
        return {}
    replies = [reply] * REPEATS
    steps: dict[str, Step] = {
        f"rewrite-request-{size}": partial(rewrite_requests, [request] * REPEATS),
        "rewrite-request-upgrade": partial(rewrite_handshakes, [handshake] * REPEATS),
        f"rewrite-response-{size}": partial(rewrite_responses, b"", replies),
        f"rewrite-response-{size}-close": partial(rewrite_responses, ADD_CLOSE, replies),
    }
    return {name: always(step) for name, step in steps.items()}
