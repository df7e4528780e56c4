"""Which name an upstream with TLS is asked for, and whose certificates are accepted.

The name is that of the upstream, and never one that a client chose: `localhost` on the loopback,
as in the URL that a person would open. There, any certificate is accepted, because development
servers make their own, and whoever listens there is on this machine. `--upstream-ca` has all of
them checked. OpenSSL is loaded for the first connection, or for the file.
Neighbour: `tls_opening.py` shakes hands.
"""

from typing import TYPE_CHECKING, Final

from cmux_proxy.net.loopback import is_loopback
from cmux_proxy.routing.target import Target

if TYPE_CHECKING:
    from ssl import SSLContext

    from cmux_proxy.net.tls_engine import TlsEngine

_FIELD: Final = "upstreams.ca"
# By ALPN.
_PROTOCOLS: Final = ("http/1.1",)
_LOCAL_NAME: Final = "localhost"


class UpstreamTls:
    """Begins sessions with upstreams; `ca` is a file of authorities, None is the system's.

    Raises CertificateError where the file cannot be used.
    """

    __slots__ = ("_ca", "_trusting", "_unverified")

    def __init__(self, ca: str | None = None) -> None:
        self._ca = ca
        self._trusting: SSLContext | None = None
        self._unverified: SSLContext | None = None
        if ca is not None:
            self._trusting_context()

    def new_engine(self, target: Target) -> "TlsEngine":
        """Return a session that has not begun."""
        from cmux_proxy.net.tls_engine import TlsEngine

        is_verified = self._ca is not None or not is_loopback(target.host)
        context = self._trusting_context() if is_verified else self._unverified_context()
        return TlsEngine(context, False, server_name(target.host))

    def _trusting_context(self) -> "SSLContext":
        if self._trusting is None:
            from cmux_proxy.net.tls_client import trusting_context

            self._trusting = trusting_context(self._ca, _PROTOCOLS, _FIELD)
        return self._trusting

    def _unverified_context(self) -> "SSLContext":
        if self._unverified is None:
            from cmux_proxy.net.tls_client import unverified_context

            self._unverified = unverified_context(_PROTOCOLS)
        return self._unverified


def server_name(host: str) -> str:
    """Return the name that the certificate of an upstream must have.

    A name is also sent as server name; an address is not (RFC 6066 section 3).
    """
    if is_loopback(host):
        return _LOCAL_NAME
    return host.partition("%")[0].removesuffix(".")
