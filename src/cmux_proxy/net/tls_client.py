"""The TLS contexts of a client: whose certificates it accepts, and what it offers.

Does not know for which server a context is used. Neighbours: `tls_contexts.py` has those of a
server, `tls_certificates.py` reads its files.
"""

import ssl
from collections.abc import Sequence

from cmux_proxy.net.tls_certificates import Authorities


def trusting_context(path: str | None, protocols: Sequence[str], field: str) -> ssl.SSLContext:
    """Return a context that accepts certificates of the authorities in a file, or the system's.

    A certificate in the file is accepted itself too. `protocols` are offered by ALPN (RFC 7301).
    Raises CertificateError for `field` where the file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if path is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        Authorities(path, field).trust_in(context)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return _offering(context, protocols)


def unverified_context(protocols: Sequence[str]) -> ssl.SSLContext:
    """Return a context that accepts every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _offering(context, protocols)


def _offering(context: ssl.SSLContext, protocols: Sequence[str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    return context
