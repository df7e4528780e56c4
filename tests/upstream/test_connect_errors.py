"""What errors mean; `test_connector.py` meets them while it connects."""

import errno

from cmux_proxy import Target
from cmux_proxy.errors import UnavailableReason
from cmux_proxy.net.tls_errors import (
    CLOSED,
    NO_TLS,
    TLS_ALERT,
    TLS_CERTIFICATE,
    TLS_PROTOCOL,
    HandshakeError,
)
from cmux_proxy.upstream.connect_errors import handshake_failed, unavailable


def test_a_refusal_has_a_reason_of_its_own() -> None:
    target = Target("::1", 80)
    refused = unavailable(target, ConnectionRefusedError(errno.ECONNREFUSED, ""))
    assert refused.reason is UnavailableReason.REFUSED
    assert refused.text.startswith("nothing listens on [::1]:80;")
    for error in (OSError(errno.EHOSTUNREACH, ""), ConnectionResetError(), RuntimeError()):
        assert unavailable(target, error).reason is not UnavailableReason.REFUSED


def test_a_handshake_that_fails_has_a_reason_and_a_remedy() -> None:
    target = Target("::1", 80, "https")
    plain = handshake_failed(target, HandshakeError(NO_TLS, TLS_PROTOCOL))
    assert plain.reason is UnavailableReason.TLS_PROTOCOL
    assert plain.text == (
        "[::1]:80 does not speak TLS; leave out X-Cmux-Scheme: https and --https-port"
    )
    untrusted = handshake_failed(target, HandshakeError("it is old", TLS_CERTIFICATE))
    assert untrusted.reason is UnavailableReason.TLS_CERTIFICATE
    assert untrusted.text == (
        "the TLS handshake with [::1]:80 failed: it is old; name its authority with --upstream-ca"
    )
    assert handshake_failed(target, CLOSED).reason is UnavailableReason.TERMINATED
    refused = handshake_failed(target, HandshakeError("no", TLS_ALERT))
    assert refused.reason is UnavailableReason.TLS_ALERT
