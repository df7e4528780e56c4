"""Which header fields of a request change: Host, Origin and Referer, and the forwarding fields.

Runs only where one of them is configured, or where the request overrides its Host. Decides what the
fields say; `http1/serialize.py` puts them into the head.
"""

from cmux_proxy.config.sections import Rewriting
from cmux_proxy.config.values import UNIX_PEER, Peers, plain_address
from cmux_proxy.http1.serialize import Edits
from cmux_proxy.http1.trailers import FORWARDED
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.routing.target import Target


class Rewriter:
    """Changes the header fields of requests as the configuration says."""

    def __init__(self, rules: Rewriting) -> None:
        self._rules = rules
        self._trusted = Peers(rules.trusted_proxies)

    def edits(
        self, request: ClientRequest, target: Target, host_override: bytes | None, peer: str,
        scheme: bytes = b"http",
    ) -> Edits:  # fmt: skip
        """Return the changes to a request.

        `host_override` is the Host that the request asks for, `peer` the client: an IP address,
        "unix:", or empty where that is not known. `scheme` is that of the client's connection.
        """
        host = request.host
        edits = Edits(host_override or self._new_host(target))
        mode = self._rules.forwarded
        is_trusted = mode == "preserve" or (mode == "append" and self._trusted.include(peer))
        if self._rules.rewrite_origin and edits.host is not None and host is not None:
            own = _own_origin(request, host, is_trusted, scheme)
            _change_origin(edits, request, own, target.url_scheme())
        if mode != "preserve":
            # A service that reads fields as CGI variables takes X_Real_IP for X-Real-IP.
            edits.lookalikes = FORWARDED
            if not is_trusted:
                edits.drop += FORWARDED
            if mode == "append":
                self._append(edits, request, host, peer, is_trusted, scheme)
        return edits

    def _new_host(self, target: Target) -> bytes | None:
        rule = self._rules.host_header
        if rule == "preserve":
            return None
        return f"localhost:{target.port}".encode("ascii") if rule == "upstream" else rule.encode()

    def _append(
        self,
        edits: Edits,
        request: ClientRequest,
        host: bytes | None,
        peer: str,
        is_trusted: bool,
        scheme: bytes,
    ) -> None:
        def trusted_values(name: bytes) -> list[bytes]:
            return request.forwarded_values(name) if is_trusted else []

        peer = "" if peer in ("", UNIX_PEER) else str(plain_address(peer))
        address = peer.encode("ascii") or b"unknown"
        edits.replace(
            b"X-Forwarded-For", b", ".join([*trusted_values(b"x-forwarded-for"), address])
        )
        if host is not None and not trusted_values(b"x-forwarded-host"):
            edits.replace(b"X-Forwarded-Host", host)
        if not trusted_values(b"x-forwarded-proto"):
            edits.replace(b"X-Forwarded-Proto", scheme)
        if self._rules.forwarded_rfc7239:
            element = _element(peer, host, scheme)
            edits.replace(b"Forwarded", b", ".join([*trusted_values(b"forwarded"), element]))


def _element(peer: str, host: bytes | None, scheme: bytes) -> bytes:
    """Return one element of a Forwarded field (RFC 7239 section 4); `peer` may be empty."""
    if not peer:
        node = b"unknown"
    elif ":" in peer:
        node = b'"[%b]"' % peer.encode("ascii")
    else:
        node = peer.encode("ascii")
    element = b"for=" + node
    if host is not None:
        # A valid Host contains neither quotes nor backslashes.
        element += b';host="%b"' % host
    return element + b";proto=" + scheme


def _own_origin(request: ClientRequest, host: bytes, is_trusted: bool, own_scheme: bytes) -> bytes:
    """Return the origin that a request was sent to, in lower case (RFC 6454 section 4).

    The scheme is that of X-Forwarded-Proto if `is_trusted` and it is there, otherwise our own.
    """
    schemes = request.forwarded_values(b"x-forwarded-proto") if is_trusted else []
    # The first scheme is that of the proxy next to the client. Some send wss for an upgrade.
    first = b",".join(schemes).partition(b",")[0].strip(b" \t").lower() or own_scheme
    return (b"https://" if first in (b"https", b"wss") else b"http://") + host.lower()


def _change_origin(edits: Edits, request: ClientRequest, own: bytes, new_scheme: str) -> None:
    """Change Origin and Referer with Host, if Origin is where the request was sent to.

    `new_scheme` is that of the upstream, which takes it for its own.
    """
    origins = request.forwarded_values(b"origin")
    if edits.host is None or len(origins) != 1 or origins[0].lower() != own:
        return
    origin = new_scheme.encode("ascii") + b"://" + edits.host
    edits.replace(b"Origin", origin)
    referer_values = request.forwarded_values(b"referer")
    if len(referer_values) == 1:
        rest = referer_values[0][len(own) :]
        if referer_values[0][: len(own)].lower() == own and rest[:1] in (b"", b"/"):
            edits.replace(b"Referer", origin + (rest or b"/"))
