"""Which name an upstream with TLS is asked for, and whose certificates are accepted.

The name is that of the upstream, and never one that a client chose: `localhost` on the loopback,
as in the URL that a person would open. There, any certificate is accepted, because development
servers make their own, and whoever listens there is on this machine. `--upstream-ca` has all of
them checked. OpenSSL is loaded for the first connection, or for the file.
Neighbour: `tls_opening.py` shakes hands.
"""

from typing import TYPE_CHECKING, Final

from cmux_proxy.net.loopback import is_loopback
from cmux_proxy.routing.target import H2, Target

if TYPE_CHECKING:
    from ssl import SSLContext

    from cmux_proxy.net.tls_engine import TlsEngine

_FIELD: Final = "upstreams.ca"
_HTTP_1_1: Final = "http/1.1"
_LOCAL_NAME: Final = "localhost"


class UpstreamTls:
    """Begins sessions with upstreams; `ca` is a file of authorities, None is the system's.

    Raises CertificateError where the file cannot be used.
    """

    __slots__ = ("_ca", "_contexts")

    def __init__(self, ca: str | None = None) -> None:
        self._ca = ca
        # By whether they verify, and what they offer by ALPN.
        self._contexts: dict[tuple[bool, str], SSLContext] = {}
        if ca is not None:
            self._context(True, _HTTP_1_1)

    def new_engine(self, target: Target) -> "TlsEngine":
        """Return a session that has not begun."""
        from cmux_proxy.net.tls_engine import TlsEngine

        is_verified = self._ca is not None or not is_loopback(target.host)
        protocol = H2 if target.is_http2() else _HTTP_1_1
        context = self._context(is_verified, protocol)
        return TlsEngine(context, False, server_name(target.host))

    def _context(self, is_verified: bool, protocol: str) -> "SSLContext":
        key = is_verified, protocol
        context = self._contexts.get(key)
        if context is None:
            from cmux_proxy.net.tls_client import trusting_context, unverified_context

            if is_verified:
                context = trusting_context(self._ca, [protocol], _FIELD)
            else:
                context = unverified_context([protocol])
            self._contexts[key] = context
        return context


def server_name(host: str) -> str:
    """Return the name that the certificate of an upstream must have.

    A name is also sent as server name; an address is not (RFC 6066 section 3).
    """
    if is_loopback(host):
        return _LOCAL_NAME
    return host.partition("%")[0].removesuffix(".")
