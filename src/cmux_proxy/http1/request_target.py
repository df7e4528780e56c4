"""The four forms of a request target (RFC 9112 section 3.2), turned into what travels on.

An upstream gets the origin form, byte for byte, or "*"; nothing is decoded or re-encoded. Knows
nothing of where the request goes: the authority in a target never picks the upstream.
"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import ABSOLUTE_TARGET, AUTHORITY, HOST
from cmux_proxy.http1.head import RequestHead


class ForwardTarget:
    """The target to send on, and the authority that replaces Host (RFC 9112 section 3.2.2)."""

    __slots__ = ("authority", "path")

    def __init__(self, path: bytes, authority: bytes) -> None:
        self.path = path
        self.authority = authority


def check_host(head: RequestHead) -> None:
    """Raise BadMessage for HTTP/1.1 without Host (RFC 9112 section 3.2)."""
    if head.fields.host is None and head.minor:
        raise BadMessage("the Host field is missing")


def expectations(before: bytes | None, value: bytes) -> bytes | None:
    """Return what Expect lines ask for, if anything: those `before`, and one more with that value.

    The members of a list (RFC 9110 section 10.1.1); one that repeats the first says nothing new.
    """
    members = [] if before is None else [before]
    for item in value.split(b","):
        member = item.strip(b" \t")
        if member and (not members or member.lower() != members[0].lower()):
            members.append(member)
    return b", ".join(members) if members else None


def check_expectation(head: RequestHead) -> None:
    """Raise BadMessage for an Expect other than 100-continue (RFC 9110 section 10.1.1)."""
    expect = head.fields.expect
    if head.minor and expect is not None and expect.lower() != b"100-continue":
        raise BadMessage("only the expectation 100-continue can be met", 417)


def forward_target(head: RequestHead) -> ForwardTarget | None:
    """Return what to send in place of the target, or None when it can travel as it is.

    Not for CONNECT. Raises BadMessage for a form that the method does not allow.
    """
    target = head.target
    if target.startswith(b"/"):
        return None
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
    if head.fields.transfer_encoding is not None or head.fields.content_length:
        # RFC 9110 section 9.3.6: it has no content; what follows the head is the tunnel's.
        raise BadMessage("CONNECT has no body")
