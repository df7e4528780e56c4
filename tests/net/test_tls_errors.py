"""Why a handshake failed, in words."""

import ssl

import pytest

from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.tls_errors import handshake_error
from tests.helpers.tls import NAME, client_context, server_context


def error_with(reason: str, verify_message: str = "") -> ssl.SSLError:
    """Return an error as OpenSSL has it."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    if verify_message:
        error.verify_message = verify_message  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("reason", "is_server", "text", "kind"),
    [
        ("HTTP_REQUEST", True, "the peer sent plain HTTP", "tls_protocol_error"),
        ("WRONG_VERSION_NUMBER", False, "the peer did not send TLS", "tls_protocol_error"),
        (
            "UNSUPPORTED_PROTOCOL", True,
            "the peer offers no version of TLS that is allowed: 1.2 or newer",
            "tls_protocol_error",
        ),
        (
            "NO_SHARED_CIPHER", True, "the peer offers no cipher that is allowed",
            "tls_protocol_error",
        ),
        (
            "PEER_DID_NOT_RETURN_A_CERTIFICATE", True, "the client sent no certificate",
            "tls_certificate_error",
        ),
        (
            "TLSV1_ALERT_UNKNOWN_CA", True,
            "the peer does not trust the certificate (unknown ca)", "tls_alert_received",
        ),
        (
            "SSLV3_ALERT_CERTIFICATE_EXPIRED", True,
            "the peer refuses the certificate, because it has expired", "tls_alert_received",
        ),
        (
            "TLSV1_ALERT_PROTOCOL_VERSION", False,
            "the peer allows no version of TLS that is offered", "tls_alert_received",
        ),
        (
            "TLSV1_ALERT_NO_APPLICATION_PROTOCOL", False,
            "the peer sent an alert: no application protocol", "tls_alert_received",
        ),
        ("SOMETHING_NEW", True, "something new", "tls_protocol_error"),
        ("", True, "unknown error", "tls_protocol_error"),
    ],
)  # fmt: skip
def test_a_reason_is_a_sentence(reason: str, is_server: bool, text: str, kind: str) -> None:
    assert handshake_error(error_with(reason), is_server) == (text, kind)


def test_an_untrusted_certificate_names_whose_it_is_and_why() -> None:
    error = error_with("CERTIFICATE_VERIFY_FAILED", "certificate has expired")
    for is_server, peer in ((True, "client"), (False, "server")):
        assert handshake_error(error, is_server) == (
            f"the certificate of the {peer} is not trusted: certificate has expired",
            "tls_certificate_error",
        )


def fail(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Return what a server says about a handshake that fails."""
    ours, theirs = TlsEngine(server, True), TlsEngine(client, False, NAME)
    data = b""
    for _ in range(4):
        theirs.shake_hands(data)
        ours.shake_hands(theirs.take_outgoing())
        if ours.failure is not None:
            break
        data = ours.take_outgoing()
    assert ours.failure is not None
    return handshake_error(ours.failure, True).text


def test_openssl_gives_these_reasons() -> None:
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert fail(server_context(), client) == "the peer offers no cipher that is allowed"
    assert fail(server_context(asks=True), client_context()) == "the client sent no certificate"
    stranger = ssl.create_default_context()
    assert fail(server_context(), stranger) == (
        "the peer does not trust the certificate (unknown ca)"
    )
    engine = TlsEngine(server_context(), True)
    assert not engine.shake_hands(b"GET / HTTP/1.1\r\n\r\n")
    assert engine.failure is not None
    assert handshake_error(engine.failure, True).text == "the peer sent plain HTTP"
