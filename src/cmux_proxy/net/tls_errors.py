"""Why a TLS handshake failed, as one sentence for a log. Does not know where it is written.

OpenSSL names its reasons; those that a user can act on are explained here.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import ssl


class HandshakeError(NamedTuple):
    """A sentence, and a Proxy-Status error type (RFC 9209 section 2.3)."""

    text: str
    error: str


# The Proxy-Status error types.
TLS_PROTOCOL: Final = "tls_protocol_error"
TLS_CERTIFICATE: Final = "tls_certificate_error"
TLS_ALERT: Final = "tls_alert_received"

CLOSED: Final = HandshakeError("the peer closed the connection", "connection_terminated")
NO_TLS: Final = "the peer did not send TLS"

_OLD: Final = "the peer offers no version of TLS that is allowed: 1.2 or newer"

# By the names of OpenSSL.
_OWN: Final = {
    "HTTP_REQUEST": "the peer sent plain HTTP",
    "WRONG_VERSION_NUMBER": NO_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "VERSION_TOO_LOW": _OLD,
    "NO_SHARED_CIPHER": "the peer offers no cipher that is allowed",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "the peer cannot check a certificate of this type",
    "NO_SUITABLE_KEY_SHARE": "the peer offers no key exchange that is allowed",
    "CALLBACK_FAILED": "there is no certificate for the server name that the peer has sent",
    "NO_PROTOCOLS_AVAILABLE": "no version of TLS is allowed on both ends",
}  # fmt: skip
_CERTIFICATE_MISSING: Final = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
_VERIFY_FAILED: Final = "CERTIFICATE_VERIFY_FAILED"
_UNTRUSTED: Final = frozenset(["UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN"])
_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": "the peer refuses the certificate, because it has expired",
    "CERTIFICATE_REQUIRED": "the peer requires a certificate",
    "PROTOCOL_VERSION": "the peer allows no version of TLS that is offered",
    "HANDSHAKE_FAILURE": "the peer allows nothing that is offered",
}


def handshake_error(error: "ssl.SSLError", is_server: bool) -> HandshakeError:
    """Return why a handshake has failed; `is_server` says which end we are."""
    reason = str(getattr(error, "reason", None) or "")
    _, is_alert, alert = reason.partition("_ALERT_")
    if is_alert:
        return HandshakeError(_alert_text(alert), TLS_ALERT)
    peer = "client" if is_server else "server"
    if reason == _VERIFY_FAILED:
        why = getattr(error, "verify_message", "") or "unknown reason"
        return HandshakeError(
            f"the certificate of the {peer} is not trusted: {why}", TLS_CERTIFICATE
        )
    if reason == _CERTIFICATE_MISSING:
        return HandshakeError(f"the {peer} sent no certificate", TLS_CERTIFICATE)
    return HandshakeError(_OWN.get(reason) or _words(reason), TLS_PROTOCOL)


def _alert_text(alert: str) -> str:
    if alert in _UNTRUSTED:
        return f"the peer does not trust the certificate ({_words(alert)})"
    return _ALERTS.get(alert) or f"the peer sent an alert: {_words(alert)}"


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ") or "unknown error"
