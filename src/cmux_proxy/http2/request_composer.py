"""Composes an HTTP/1.1 head of a header list (RFC 9113 sections 8.2, 8.3 and 8.5).

The head begins with the request line and Host, has one Cookie line at its end, and says
`transfer-encoding: chunked` if the length of the body is not known. So the scan of HTTP/1 heads
stays the one judge of hosts, targets and limits. Does not know streams; `header_field.py` has
judged each field alone.
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http2.error_codes import PROTOCOL_ERROR
from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.header_field import (
    AUTHORITY,
    COOKIE,
    GRPC,
    HOST,
    LENGTH,
    METHOD,
    PATH,
    PLAIN,
    PROTOCOL,
    SCHEME,
    WEBSOCKET_KEY,
    HeaderField,
)

_HTTP11_HOST: Final = b" HTTP/1.1\r\nhost: "


class RequestComposer:
    """Composes one head after another; one object serves all connections.

    After `compose`, `content_length` is the announced length, 0 for a request that ends with its
    head, and -1 if the length is not known. `is_grpc` says that the media type is that of gRPC,
    `is_tunnel` that the method is CONNECT. `protocol` is that of an extended CONNECT (RFC 8441),
    and otherwise empty.
    """

    __slots__ = (
        "_authority", "_crumbs", "_host", "_lines", "_method", "_path", "_scheme", "_seen",
        "content_length", "is_grpc", "is_tunnel", "protocol",
    )  # fmt: skip

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lines: list[bytes] = []
        # The kinds that have occurred, as bits.
        self._seen = 0
        self._method = self._path = self._authority = self._scheme = b""
        self._host = b""
        self._crumbs: list[bytes] = []
        self.content_length = -1
        self.is_grpc = False
        self.is_tunnel = False
        self.protocol = b""

    def compose(self, fields: list[HeaderField], is_last: bool) -> bytes:
        """Return the head; `is_last` says that no body follows.

        Raises StreamFault for a malformed request (RFC 9113 section 8.1.1), and BadMessage for one
        that gets a response instead.
        """
        self._clear()
        lines = self._lines
        for field in fields:
            kind = field.kind
            if kind == PLAIN:
                lines.append(field.line)
            elif kind <= PROTOCOL:
                self._take_pseudo_field(kind, field.value)
            else:
                self._take_special(field)
        self._check_pseudo_fields()
        self._check_length(is_last)
        if self._method == b"CONNECT":
            self.is_tunnel = True
            return self._connect_head()
        if self.content_length < 0 and not is_last:
            lines.append(b"transfer-encoding: chunked\r\n")
        return self._head(self._method, self._path)

    def _take_pseudo_field(self, kind: int, value: bytes) -> None:
        """Keep a pseudo-field; each comes once, before all others (RFC 9113 section 8.3)."""
        bit = 1 << kind
        if self._seen & bit:
            raise _fault("a pseudo-field comes twice")
        if self._seen >> PLAIN or self._lines:
            raise _fault("a pseudo-field comes after other fields")
        self._seen |= bit
        if kind == METHOD:
            self._method = value
        elif kind == PATH:
            self._path = value
        elif kind == AUTHORITY:
            self._authority = value
        elif kind == SCHEME:
            self._scheme = value
        else:
            self.protocol = value

    def _take_special(self, field: HeaderField) -> None:
        """Keep a field that is not forwarded as it is; raise StreamFault for a malformed one."""
        kind = field.kind
        is_repeated = self._seen >> kind & 1 == 1
        self._seen |= 1 << kind
        if kind == COOKIE:
            self._crumbs.append(field.value)
        elif kind == HOST:
            if is_repeated:
                raise BadMessage("there is more than one Host field")
            self._host = field.value
        elif kind == LENGTH:
            # RFC 9112 section 6.3 allows equal values. Stricter: one field or none.
            if is_repeated:
                raise _fault("there is more than one Content-Length field")
            self.content_length = int(field.value)
            self._lines.append(field.line)
        elif kind == GRPC:
            self.is_grpc = True
            self._lines.append(field.line)
        elif kind == WEBSOCKET_KEY:
            # RFC 8441 section 5: an extended CONNECT has none, and gets one of the proxy.
            if not self.protocol:
                self._lines.append(field.line)
        else:
            raise _fault(field.rule)

    def _check_pseudo_fields(self) -> None:
        """Raise StreamFault unless those are there that the method needs, and no others."""
        if not self._method:
            raise _fault("the method is missing")
        has_target = self._path != b"" and self._scheme != b""
        if self._method == b"CONNECT" and not self.protocol:
            if self._path or self._scheme:
                raise _fault("CONNECT has a path or a scheme")
            if not self._authority:
                raise _fault("CONNECT has no authority")
        elif not has_target:
            raise _fault("the path or the scheme is missing")
        elif self.protocol and self._method != b"CONNECT":
            raise _fault("a protocol is for CONNECT only")
        elif self._path == b"*" and self._method != b"OPTIONS":
            raise _fault("the path * is for OPTIONS only")
        self._check_host()

    def _check_host(self) -> None:
        """Raise BadMessage if Host names another authority (RFC 9113 section 8.3.1)."""
        has_both = self._seen >> HOST & 1 and self._seen >> AUTHORITY & 1
        if has_both and self._host.lower() != self._authority.lower():
            raise BadMessage("Host and :authority differ")

    def _check_length(self, is_last: bool) -> None:
        if self._method == b"CONNECT" and self.content_length >= 0:
            # RFC 9110 section 9.3.6: what follows belongs to the tunnel.
            raise _fault("CONNECT has Content-Length")
        if is_last:
            if self.content_length > 0:
                raise _fault("the body is shorter than Content-Length")
            self.content_length = 0

    def _connect_head(self) -> bytes:
        """Return the head of a CONNECT, or that of the upgrade which an extended CONNECT means."""
        if not self.protocol:
            return self._head(b"CONNECT", self._authority)
        self._lines.append(b"connection: upgrade\r\nupgrade: " + self.protocol + b"\r\n")
        return self._head(b"GET", self._path)

    def _head(self, method: bytes, target: bytes) -> bytes:
        lines = self._lines
        if self._crumbs:
            # RFC 9113 section 8.2.3
            lines.append(b"cookie: " + b"; ".join(self._crumbs) + b"\r\n")
        lines.append(b"\r\n")
        rest = b"".join(lines)
        if self._seen >> AUTHORITY & 1:
            return b"".join((method, b" ", target, _HTTP11_HOST, self._authority, b"\r\n", rest))
        if self._seen >> HOST & 1:
            return b"".join((method, b" ", target, _HTTP11_HOST, self._host, b"\r\n", rest))
        return b"".join((method, b" ", target, b" HTTP/1.1\r\n", rest))


def compose_trailers(fields: list[HeaderField]) -> bytes:
    """Return the lines of a trailer section, without the blank line behind it.

    Raises StreamFault if one is malformed (RFC 9113 section 8.1). Which of them are forwarded is
    decided where those of HTTP/1 are (RFC 9110 section 6.5.1).
    """
    lines: list[bytes] = []
    for field in fields:
        if field.kind <= PROTOCOL:
            raise _fault("a trailer section has a pseudo-field")
        if field.rule:
            raise _fault(field.rule)
        lines.append(field.line)
    return b"".join(lines)


def _fault(rule: str) -> StreamFault:
    return StreamFault(PROTOCOL_ERROR, rule)
