"""The TLS contexts of a server: which certificate a client gets, and what it may negotiate.

The server name that a client asks for (RFC 6066 section 3) chooses, and the first certificate is
for all others. Sessions are resumed with tickets, whose key a context has for as long as it lives.
Does not know when the files are read again: `server/tls_reload.py` does. Neighbours:
`tls_certificates.py` reads them, `tls_leaves.py` has the contexts of a local authority.
"""

import ssl
from collections.abc import Sequence
from typing import Protocol

from cmux_proxy.net.tls_certificates import (
    Authorities,
    Certificate,
    load_certificate,
)


class TlsFiles(Protocol):
    """Where certificates, keys, and the authorities of clients are; see `config/tls_section.py`."""

    @property
    def certs(self) -> Sequence[str]:
        """The files of certificates; the first is the default."""

    @property
    def keys(self) -> Sequence[str]:
        """The files of their keys; none where the certificates' files have them."""

    @property
    def client_ca(self) -> str | None:
        """The file of the authorities of clients; None requires no certificate of a client."""


class TlsServer:
    """What a server opens sessions with: `context`, which a reload replaces as a whole."""

    __slots__ = ("context",)

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context


class CertificateTable:
    """Finds the context for a server name."""

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        self._by_name: dict[str, ssl.SSLContext] = {}
        for certificate in certificates:
            for name in certificate.names:
                self._by_name.setdefault(name, certificate.context)

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context for a name; a wildcard stands for one label (RFC 9525 section 6.3)."""
        name = name.lower().removesuffix(".")
        context = self._by_name.get(name)
        return context or self._by_name.get("*." + name.partition(".")[2])

    def choose(
        self, session: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Give a session the context for its server name; the session has the default so far."""
        found = None if name is None else self.find(name)
        if found is not None:
            session.context = found


def load_server_context(files: TlsFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return the context of a server; raise CertificateError.

    `protocols` are offered by ALPN (RFC 7301), the preferred one first.
    """
    keys = files.keys or files.certs
    certificates = [load_certificate(*pair) for pair in zip(files.certs, keys, strict=True)]
    clients = None if files.client_ca is None else Authorities(files.client_ca, "tls.client_ca")
    for certificate in certificates:
        configure_context(certificate.context, protocols, clients)
    default = certificates[0].context
    if len(certificates) > 1:
        default.sni_callback = CertificateTable(certificates).choose
    return default


def configure_context(
    context: ssl.SSLContext, protocols: Sequence[str], clients: Authorities | None
) -> None:
    """Offer protocols by ALPN, and require certificates of clients; raise CertificateError."""
    context.set_alpn_protocols(list(protocols))
    # A resumed session gets another; the second one of OpenSSL's default is rarely used.
    context.num_tickets = 1
    if clients is not None:
        clients.require_in(context)
