"""Recognizes a connection that begins with TLS, and gives it to a `TlsConnection`.

Where there are no certificates, the client gets an alert, and OpenSSL is not even loaded.
Neighbours: `http1_connection.py` has read the first bytes, `tls_connection.py` shakes hands.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from cmux_proxy.net.asyncio_backend import is_encrypted
from cmux_proxy.net.stream import FirstOwner
from cmux_proxy.net.tls_errors import HandshakeError
from cmux_proxy.relay.accounting import log_refusal
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.failures import handshake_failure
from cmux_proxy.relay.services import Services

# The content type of the first record of a client (RFC 8446 section 5.1).
_FIRST_BYTE: Final = b"\x16"
# The alert handshake_failure (RFC 8446 section 6), in the form of every version.
_ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x28"
_NO_TLS: Final = HandshakeError(
    "this port speaks plain HTTP; use http://, or start with --tls auto or --tls-cert",
    "tls_protocol_error",
)


def take_tls(
    services: Services,
    client: Downstream,
    new_connection: Callable[[Services, ExchangePool], FirstOwner],
    exchanges: ExchangePool,
) -> bool:
    """Shake hands if the first bytes of a connection are those of a TLS client.

    Return False if they are not. `new_connection` makes the owner of the session. Without
    certificates, the client gets an alert.
    """
    data = client.pipelined
    stream = client.transport
    if not data.startswith(_FIRST_BYTE) or is_encrypted(stream):
        return False
    client.pipelined = b""
    if services.tls is None:
        report_failure(services, client.address(), _NO_TLS)
        stream.write(_ALERT)
        client.linger()
    else:
        from cmux_proxy.downstream.tls_connection import TlsConnection

        client.detach()
        make_owner = partial(new_connection, services, exchanges)
        connection = TlsConnection(services, make_owner, stream, client.address())
        connection.start(services.tls, data)
    return True


def report_failure(services: Services, address: str, error: HandshakeError) -> None:
    """Log a failed handshake, as a line with its reason and as a record, and count it."""
    services.handshake_log.report(services.ticker.now, address, error.text)
    observer = services.observer
    if observer is not None:
        log_refusal(observer, address, handshake_failure(error.text, error.error))
