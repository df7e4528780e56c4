"""What is asked, and the exact heads that must come of it on either side.

The plan travels as the request's target. The upstream obeys it, and both sides derive from it
what they must get, so that nothing has to be remembered and nothing can be mixed up unnoticed.
"""

import hashlib
from typing import Final, NamedTuple, Self

from cmux_proxy import Address
from tests.network.mixed_load.bodies import content as _content

_SWITCH: Final = ("Connection: keep-alive, Upgrade", "Upgrade: cmux-load", "Sec-Key: 1")


class Kind(NamedTuple):
    """What all requests of a kind have in common.

    `upload` and `framing` say how the bodies of request and answer end: "length", "chunked",
    "close", or "" without a body.
    """

    method: str = "GET"
    upload: str = ""
    status: str = "200 OK"
    framing: str = "length"
    lines: tuple[str, ...] = ()


PLAIN: Final = {
    "length": Kind(),
    "chunked": Kind(framing="chunked"),
    "until-close": Kind(framing="close"),
    "closing": Kind(),
    "vanishing": Kind(),
    "hints": Kind(),
    "head": Kind("HEAD"),
    "none": Kind("DELETE", status="204 No Content", framing=""),
    "unmodified": Kind(status="304 Not Modified"),
    "echo": Kind("POST", "length"),
    "hash": Kind("POST", "chunked"),
    "refused": Kind(),
    "unrouted": Kind(),
}
# HTTP/1.0 has no chunks to ask with, no 100 (Continue) and no upgrade.
ONLY_NEW: Final = {
    "stream": Kind("PATCH", "chunked", framing="chunked"),
    "declined": Kind(status="426 Upgrade Required", lines=_SWITCH),
    "continue": Kind("PUT", "length", lines=("Expect: 100-continue",)),
}
SPECIAL: Final = {
    "refused-upload": Kind("POST", "length"),
    "ended-upload": Kind("POST", "chunked"),
    "upgrade": Kind(status="101 Switching Protocols", framing="", lines=_SWITCH),
    "client-first": Kind("CONNECT"),
    "upstream-first": Kind("CONNECT"),
    "abort-head": Kind(),
    "abort-waiting": Kind(),
    "abort-answer": Kind(framing="chunked"),
    "abort-upload": Kind("POST", "chunked"),
    "abort-malformed": Kind("POST", "chunked"),
    "abort-upgrade": Kind(status="101 Switching Protocols", framing="", lines=_SWITCH),
    "abort-connect": Kind("CONNECT"),
}
KINDS: Final = {**PLAIN, **ONLY_NEW, **SPECIAL}
OLD: Final = [name for name, kind in PLAIN.items() if kind.upload != "chunked"]
NEW: Final = [*PLAIN, *ONLY_NEW]


class Plan(NamedTuple):
    """One request: its kind, the key that nobody else has, and the sizes of both contents."""

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
    def kind(self) -> Kind:
        """What it has in common with others."""
        return KINDS[self.name]

    @property
    def is_aborted(self) -> bool:
        """Whether it never gets to its end, most often since the client goes away."""
        return self.name.startswith("abort-")

    @property
    def trailer(self) -> str:
        """The trailer of both bodies, where they are chunked."""
        return f"X-Trailer: {self.key}"


def lines(*several: str) -> bytes:
    """Return a head without its blank line, as a reader returns it."""
    return "\r\n".join(several).encode("latin-1")


# The request


def asked(plan: Plan) -> list[str]:
    """Return the lines that the upstream must get."""
    kind = plan.kind
    return [
        f"{kind.method} {plan.target} HTTP/1.1",
        "Host: load.test",
        f"X-Key: {plan.key}",
        *kind.lines,
        *_framing(kind.upload, plan.up),
        f"Cookie: a={plan.key}",
        f"cookie: b={plan.key}",
    ]


def sent(plan: Plan, port: int, version: str, *fields: str) -> bytes:
    """Return the head that the client sends."""
    start, host, *rest = asked(plan)
    start = start.removesuffix("1.1") + version
    route = [] if plan.name == "unrouted" else [f"x-cmux-port-INTERNAL:\t{port} "]
    return lines(start, host, *route, *rest, *fields, "", "")


# The answer


def body(plan: Plan, port: int) -> bytes:
    """Return the content of the answer, also where it is only announced."""
    if plan.name == "hash":
        return hashlib.sha256(upload(plan)).hexdigest().encode()
    if plan.kind.upload:
        return upload(plan)
    return _content(f"down {plan.key} {port}", plan.down)


def upload(plan: Plan) -> bytes:
    """Return the content of the request."""
    return _content(f"up {plan.key}", plan.up)


def said(plan: Plan, port: int) -> list[str]:
    """Return the lines of the upstream's answer."""
    kind = plan.kind
    return [
        f"HTTP/1.1 {kind.status}",
        f"X-Key: {plan.key}",
        f"X-Port: {port}",
        *(_SWITCH[:2] if kind.status.startswith("101") else ()),
        *(["Connection: close"] if plan.name in ("closing", "ended-upload") else []),
        *_framing(kind.framing, len(body(plan, port))),
        f"Set-Cookie: a={plan.key}",
        f"set-cookie: b={plan.key}",
    ]


def goes_on(plan: Plan, version: str, keeps: bool) -> bool:
    """Return whether the client's connection must go on after the answer, if it wants that."""
    if version == "1.1":
        return keeps
    return keeps and plan.kind.framing in ("", "length") and plan.name not in _ERRORS


def told(plan: Plan, port: int, version: str, keeps: bool) -> list[str]:
    """Return the lines that the client must get."""
    lost = ["Connection: close", "" if version == "1.1" else _framing("chunked", 0)[0]]
    kept = [line for line in said(plan, port) if line not in lost]
    if plan.kind.framing == "close" and version == "1.1":
        kept += _framing("chunked", 0)
    if not goes_on(plan, version, keeps):
        kept.append("Connection: close")
    elif version == "1.0":
        kept.append("Connection: keep-alive")
    return kept


def interim(plan: Plan) -> list[str]:
    """Return the lines of the answer before the answer; none where there is no such."""
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
    """Return the lines and the body of the proxy's own answer."""
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


def _framing(how: str, size: int) -> list[str]:
    if how == "length":
        return [f"Content-Length: {size}"]
    return ["Transfer-Encoding: chunked"] if how == "chunked" else []
