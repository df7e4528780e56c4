"""The requests, and the exact heads that both sides must receive.

The target of a request contains its plan. The upstream does what the plan says, and both sides
derive from it what they must receive. So no state is needed, and every mix-up is noticed.
"""

import hashlib
from typing import Final, NamedTuple, Self

from cmux_proxy import Address
from tests.network.mixed_load.bodies import content as _content

_SWITCH: Final = ("Connection: keep-alive, Upgrade", "Upgrade: cmux-load", "Sec-Key: 1")


class RequestType(NamedTuple):
    """What all requests of a type have in common.

    `upload` and `framing` are the framing of the bodies of request and response: "length",
    "chunked", "close", or "" without a body.
    """

    method: str = "GET"
    upload: str = ""
    status: str = "200 OK"
    framing: str = "length"
    lines: tuple[str, ...] = ()


PLAIN: Final = {
    "length": RequestType(),
    "chunked": RequestType(framing="chunked"),
    "until-close": RequestType(framing="close"),
    "closing": RequestType(),
    "vanishing": RequestType(),
    "hints": RequestType(),
    "head": RequestType("HEAD"),
    "none": RequestType("DELETE", status="204 No Content", framing=""),
    "unmodified": RequestType(status="304 Not Modified"),
    "echo": RequestType("POST", "length"),
    "hash": RequestType("POST", "chunked"),
    "refused": RequestType(),
    "unrouted": RequestType(),
}
# HTTP/1.0 has no chunked requests, no 100 (Continue) and no upgrade.
HTTP11_ONLY: Final = {
    "stream": RequestType("PATCH", "chunked", framing="chunked"),
    "declined": RequestType(status="426 Upgrade Required", lines=_SWITCH),
    "continue": RequestType("PUT", "length", lines=("Expect: 100-continue",)),
}
SPECIAL: Final = {
    "refused-upload": RequestType("POST", "length"),
    "ended-upload": RequestType("POST", "chunked"),
    "upgrade": RequestType(status="101 Switching Protocols", framing="", lines=_SWITCH),
    "client-first": RequestType("CONNECT"),
    "upstream-first": RequestType("CONNECT"),
    "abort-head": RequestType(),
    "abort-waiting": RequestType(),
    "abort-response": RequestType(framing="chunked"),
    "abort-upload": RequestType("POST", "chunked"),
    "abort-malformed": RequestType("POST", "chunked"),
    "abort-upgrade": RequestType(status="101 Switching Protocols", framing="", lines=_SWITCH),
    "abort-connect": RequestType("CONNECT"),
}
REQUEST_TYPES: Final = {**PLAIN, **HTTP11_ONLY, **SPECIAL}
HTTP10: Final = [name for name, request_type in PLAIN.items() if request_type.upload != "chunked"]
HTTP11: Final = [*PLAIN, *HTTP11_ONLY]


class Plan(NamedTuple):
    """One request: the name of its type, its unique key, and the sizes of both contents."""

    name: str
    key: str
    up: int
    down: int

    @classmethod
    def parse(cls, target: str) -> Self:
        """Return the plan in a target."""
        _empty, name, key, up, down = target.split("/")
        return cls(name, key, int(up), int(down))

    @property
    def target(self) -> str:
        """The plan as a target."""
        return f"/{self.name}/{self.key}/{self.up}/{self.down}"

    @property
    def request_type(self) -> RequestType:
        """What it has in common with other requests."""
        return REQUEST_TYPES[self.name]

    @property
    def is_aborted(self) -> bool:
        """Whether it does not complete, usually because the client disconnects."""
        return self.name.startswith("abort-")

    @property
    def trailer(self) -> str:
        """The trailer of chunked bodies."""
        return f"X-Trailer: {self.key}"


def lines(*head_lines: str) -> bytes:
    """Return a head without its blank line, as `Message.head` is."""
    return "\r\n".join(head_lines).encode("latin-1")


# The request


def request_lines(plan: Plan) -> list[str]:
    """Return the lines that the upstream must receive."""
    request_type = plan.request_type
    return [
        f"{request_type.method} {plan.target} HTTP/1.1",
        "Host: load.test",
        f"X-Key: {plan.key}",
        *request_type.lines,
        *_framing(request_type.upload, plan.up),
        f"Cookie: a={plan.key}",
        f"cookie: b={plan.key}",
    ]


def request_head(plan: Plan, port: int, version: str, *fields: str) -> bytes:
    """Return the head that the client sends."""
    start, host, *other_lines = request_lines(plan)
    start = start.removesuffix("1.1") + version
    route = [] if plan.name == "unrouted" else [f"x-cmux-port-INTERNAL:\t{port} "]
    return lines(start, host, *route, *other_lines, *fields, "", "")


# The response


def response_body(plan: Plan, port: int) -> bytes:
    """Return the content of the response, even if only its length is sent."""
    if plan.name == "hash":
        return hashlib.sha256(upload(plan)).hexdigest().encode()
    if plan.request_type.upload:
        return upload(plan)
    return _content(f"down {plan.key} {port}", plan.down)


def upload(plan: Plan) -> bytes:
    """Return the content of the request."""
    return _content(f"up {plan.key}", plan.up)


def upstream_response_lines(plan: Plan, port: int) -> list[str]:
    """Return the lines of the upstream's response."""
    request_type = plan.request_type
    return [
        f"HTTP/1.1 {request_type.status}",
        f"X-Key: {plan.key}",
        f"X-Port: {port}",
        *(_SWITCH[:2] if request_type.status.startswith("101") else ()),
        *(["Connection: close"] if plan.name in ("closing", "ended-upload") else []),
        *_framing(request_type.framing, len(response_body(plan, port))),
        f"Set-Cookie: a={plan.key}",
        f"set-cookie: b={plan.key}",
    ]


def keeps_connection(plan: Plan, version: str, keeps: bool) -> bool:
    """Return whether the client's connection must stay open after the response."""
    if version == "1.1":
        return keeps
    return keeps and plan.request_type.framing in ("", "length") and plan.name not in _ERRORS


def client_response_lines(plan: Plan, port: int, version: str, keeps: bool) -> list[str]:
    """Return the lines that the client must receive."""
    removed = ["Connection: close", "" if version == "1.1" else _framing("chunked", 0)[0]]
    kept = [line for line in upstream_response_lines(plan, port) if line not in removed]
    if plan.request_type.framing == "close" and version == "1.1":
        kept += _framing("chunked", 0)
    if not keeps_connection(plan, version, keeps):
        kept.append("Connection: close")
    elif version == "1.0":
        kept.append("Connection: keep-alive")
    return kept


def interim_lines(plan: Plan) -> list[str]:
    """Return the lines of the interim response; none if there is no interim response."""
    if plan.name == "hints":
        return ["HTTP/1.1 103 Early Hints", f"Link: </{plan.key}.css>", f"X-Key: {plan.key}"]
    if plan.name == "continue":
        return ["HTTP/1.1 100 Continue", f"X-Key: {plan.key}"]
    return []


_ERRORS: Final = {
    "refused": (
        "502 Bad Gateway",
        "connection_refused",
        "nothing listens on {}; start the service or check the port\n",
    ),
    "unrouted": (
        "400 Bad Request",
        "http_request_error",
        "missing required header: X-Cmux-Port-Internal\n",
    ),
    "abort-malformed": (
        "400 Bad Request",
        "http_request_error",
        "bad request: a chunk size line is malformed\n",
    ),
}


def refusal(plan: Plan, port: int, date: str, closes: bool) -> tuple[list[str], bytes]:
    """Return the lines and the body of the proxy's error response."""
    status, error, text = _ERRORS[plan.name.removesuffix("-upload")]
    content = text.format(Address("127.0.0.1", port)).encode()
    kept = [
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        f"Proxy-Status: cmux-proxy; error={error}",
        f"Date: {date}",
    ]
    return [*kept, "Connection: close"] if closes else kept, content


def _framing(framing: str, size: int) -> list[str]:
    if framing == "length":
        return [f"Content-Length: {size}"]
    return ["Transfer-Encoding: chunked"] if framing == "chunked" else []
