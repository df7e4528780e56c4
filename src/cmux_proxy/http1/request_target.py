"""The four forms of a request target (RFC 9112 section 3.2), and the target to forward.

An upstream gets the origin form, byte for byte, or "*"; nothing is decoded or re-encoded. Does not
know where the request is sent: the authority in a target never selects the upstream.
"""

from typing import Final

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import ABSOLUTE_TARGET, AUTHORITY, HOST
from cmux_proxy.http1.head import RequestHead

_SLASH: Final = 0x2F


class ForwardTarget:
    """The target to forward, and the authority that replaces Host (RFC 9112 section 3.2.2)."""

    __slots__ = ("authority", "path")

    def __init__(self, path: bytes, authority: bytes) -> None:
        self.path = path
        self.authority = authority


def check_host(head: RequestHead) -> None:
    """Raise BadMessage for an HTTP/1.1 request without Host (RFC 9112 section 3.2)."""
    if head.host is None and head.minor:
        raise BadMessage("the Host field is missing")


def forward_target(head: RequestHead) -> ForwardTarget | None:
    """Return what replaces the target, or None if the target is forwarded as it came.

    Not for CONNECT. Raises BadMessage for a form that the method does not allow.
    """
    # The target itself is a copy that most requests do not need.
    if head.buffer[len(head.method) + 1] == _SLASH:
        return None
    target = head.target
    if target == b"*":
        # RFC 9112 section 3.2.4
        if head.method == b"OPTIONS":
            return None
        raise BadMessage("the target * is for OPTIONS only")
    match = ABSOLUTE_TARGET.fullmatch(target)
    if match is None:
        raise BadMessage("the request target is neither a path nor an http:// URL")
    authority, path = match.groups()
    if HOST.fullmatch(authority) is None:
        raise BadMessage("the request target's authority is not a host and an optional port")
    if not path.startswith(b"/"):
        # RFC 9112 sections 3.2.1 and 3.2.4: an empty path is "/", and for OPTIONS "*".
        path = b"*" if not path and head.method == b"OPTIONS" else b"/" + path
    return ForwardTarget(path, authority)


def check_authority_form(head: RequestHead) -> None:
    """Raise BadMessage unless the target of a CONNECT is host:port (RFC 9112 section 3.2.3)."""
    if AUTHORITY.fullmatch(head.target) is None:
        raise BadMessage("the target of CONNECT is not host:port")
    if head.transfer_encoding is not None or head.content_length:
        # RFC 9110 section 9.3.6: it has no content; the bytes after the head belong to the tunnel.
        raise BadMessage("CONNECT has no body")
