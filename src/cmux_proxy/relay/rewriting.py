"""Which field lines a request changes besides its cuts: Host, Origin, and those of forwarding.

Asked only where something of it is configured or wished for. Knows what the lines should say;
`http1/rewrite.py` puts them into the head.
"""

from cmux_proxy.entries import UNIX_PEER, Peers, plain_address
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.lines import field_values
from cmux_proxy.http1.rewrite import Edits
from cmux_proxy.http1.trailers import FORWARDED
from cmux_proxy.routing.target import Target
from cmux_proxy.settings import Rewriting


class Rewriter:
    """The rules of one proxy."""

    def __init__(self, rules: Rewriting) -> None:
        self._rules = rules
        self._trusted = Peers(rules.trusted_proxies)

    def edits(
        self,
        request: RequestHead,
        host: bytes | None,
        target: Target,
        wished: bytes | None,
        peer: str,
    ) -> Edits:
        """Return what changes in a request.

        `host` is the Host that it means, `wished` the one that it asks for instead, `peer` whom it
        comes from: an IP address, "unix:", or nothing where that is not known.
        """
        edits = Edits(wished or self._new_host(target))
        if self._rules.rewrite_origin and edits.host is not None and host is not None:
            _follow(edits, request, host)
        if self._rules.forwarded != "preserve":
            is_trusted = self._rules.forwarded == "append" and self._trusted.include(peer)
            if not is_trusted:
                edits.drop += FORWARDED
            if self._rules.forwarded == "append":
                self._append(edits, request, host, peer, is_trusted)
        return edits

    def _new_host(self, target: Target) -> bytes | None:
        rule = self._rules.host_header
        if rule == "preserve":
            return None
        return f"localhost:{target.port}".encode("ascii") if rule == "upstream" else rule.encode()

    def _append(
        self, edits: Edits, request: RequestHead, host: bytes | None, peer: str, is_trusted: bool
    ) -> None:
        def known(name: bytes) -> list[bytes]:
            return _values(request, name) if is_trusted else []

        peer = "" if peer in ("", UNIX_PEER) else str(plain_address(peer))
        address = peer.encode("ascii") or b"unknown"
        edits.replace(b"X-Forwarded-For", b", ".join([*known(b"x-forwarded-for"), address]))
        if host is not None and not known(b"x-forwarded-host"):
            edits.replace(b"X-Forwarded-Host", host)
        if not known(b"x-forwarded-proto"):
            edits.replace(b"X-Forwarded-Proto", b"http")
        if self._rules.forwarded_rfc7239:
            element = _element(peer, host)
            edits.replace(b"Forwarded", b", ".join([*known(b"forwarded"), element]))


def _element(peer: str, host: bytes | None) -> bytes:
    """Return one element of a Forwarded field (RFC 7239 section 4); `peer` may be nothing."""
    if not peer:
        node = b"unknown"
    elif ":" in peer:
        node = b'"[%b]"' % peer.encode("ascii")
    else:
        node = peer.encode("ascii")
    element = b"for=" + node
    if host is not None:
        # A valid Host has neither quotes nor backslashes in it.
        element += b';host="%b"' % host
    return element + b";proto=http"


def _follow(edits: Edits, request: RequestHead, host: bytes) -> None:
    """Have Origin and Referer follow a new Host, if Origin is that of the old one."""
    origins = _values(request, b"origin")
    if len(origins) != 1 or edits.host is None:
        return
    if _authority(origins[0]) != host.lower():
        return
    # The upstream is spoken to in plain HTTP, so that is the scheme which it takes for its own.
    origin = b"http://" + edits.host
    edits.replace(b"Origin", origin)
    given = _values(request, b"referer")
    if len(given) == 1 and _authority(given[0]) == host.lower():
        path = given[0].partition(b"://")[2].partition(b"/")[2]
        edits.replace(b"Referer", origin + b"/" + path)


def _values(request: RequestHead, name: bytes) -> list[bytes]:
    """Return the values of the lines of that name which travel on."""
    if name in request.spans().nominated:
        return []
    return field_values(request.section(), name)


def _authority(url: bytes) -> bytes:
    return url.partition(b"://")[2].partition(b"/")[0].lower()
