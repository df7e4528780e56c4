"""An error of a connection attempt -> the reason, and one line for the client.

Knows no statuses: `relay/failures.py` picks them.
"""

import errno
import logging
import socket
from typing import Final, NamedTuple

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.net.tls_errors import (
    CLOSED,
    NO_TLS,
    TLS_ALERT,
    TLS_CERTIFICATE,
    TLS_PROTOCOL,
    HandshakeError,
)
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.dns_cache import is_unknown

_log = logging.getLogger("cmux_proxy")

_UNROUTABLE: Final = frozenset(
    getattr(errno, name)
    for name in ("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "EACCES", "ENODEV")
)
_EXHAUSTED: Final = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
# uvloop may raise RuntimeError where a connection attempt fails in an unusual way.
_EXPECTED: Final = (OSError, UnicodeError, RuntimeError, MemoryError)


class _Diagnosis(NamedTuple):
    """A reason, and a line with a place for the authority."""

    reason: UnavailableReason
    text: str


_UNKNOWN_HOST: Final = _Diagnosis(UnavailableReason.DNS_ERROR, "the host of {} is not known")
_NO_NAME_SERVER: Final = _Diagnosis(
    UnavailableReason.DNS_ERROR,
    "the host of {} could not be looked up; is there a name server that answers?",
)
_REFUSED: Final = _Diagnosis(
    UnavailableReason.REFUSED, "nothing listens on {}; start the service or check the port"
)
_UNREACHABLE: Final = _Diagnosis(UnavailableReason.UNROUTABLE, "{} is unreachable")
_NO_RESOURCES: Final = _Diagnosis(
    UnavailableReason.RESOURCE_LIMIT, "no resources left for a connection to {}; try again soon"
)
_SILENT: Final = _Diagnosis(UnavailableReason.TIMEOUT, "{} did not answer the connection attempt")
_FAILED: Final = _Diagnosis(UnavailableReason.TERMINATED, "the connection to {} failed")
_OF_TLS: Final = {
    TLS_PROTOCOL: UnavailableReason.TLS_PROTOCOL,
    TLS_CERTIFICATE: UnavailableReason.TLS_CERTIFICATE,
    TLS_ALERT: UnavailableReason.TLS_ALERT,
    CLOSED.error: UnavailableReason.TERMINATED,
}


def unavailable(target: Target, error: Exception) -> UpstreamUnavailable:
    """Return what any error means for a request; log an error that no network causes."""
    if not isinstance(error, _EXPECTED):
        _log.error("defect: %s could not be dialled", target.authority(), exc_info=error)
    reason, text = _diagnosis(error)
    is_exhausted = reason is UnavailableReason.RESOURCE_LIMIT
    return UpstreamUnavailable(reason, text.format(target.authority()), is_exhausted)


def timed_out(target: Target, seconds: float) -> UpstreamUnavailable:
    """Return the error of a request that has waited `seconds` for a connection."""
    text = f"no connection to {target.authority()} within {seconds:g} s"
    return UpstreamUnavailable(UnavailableReason.TIMEOUT, text)


def handshake_failed(target: Target, error: HandshakeError) -> UpstreamUnavailable:
    """Return the error of a request whose target has not agreed on a TLS session."""
    authority = target.authority()
    if error.text == NO_TLS:
        text = f"{authority} does not speak TLS; leave out X-Cmux-Scheme: https and --https-port"
    else:
        text = f"the TLS handshake with {authority} failed: {error.text}"
    if error.error == TLS_CERTIFICATE:
        text += "; name its authority with --upstream-ca"
    return UpstreamUnavailable(_OF_TLS[error.error], text)


def no_http2(target: Target, rule: str) -> UpstreamUnavailable:
    """Return the error of a request whose target does not speak HTTP/2, and which rule it breaks.

    Without a rule, it has closed the connection.
    """
    authority = target.authority()
    if rule:
        text = f"{authority} did not answer in valid HTTP/2: {rule}"
        return UpstreamUnavailable(UnavailableReason.PROTOCOL, text)
    text = f"{authority} closed the connection before it answered in HTTP/2; does it speak that?"
    return UpstreamUnavailable(UnavailableReason.TERMINATED, text)


def at_connection_limit(target: Target) -> UpstreamUnavailable:
    """Return the error of a request whose target may have no more connections."""
    text = f"{target.authority()} has as many connections as it may have"
    return UpstreamUnavailable(
        UnavailableReason.CONNECTION_LIMIT, f"{text} (--max-upstream-connections)", True
    )


def own_address(port: int) -> UpstreamUnavailable:
    """Return the error of a request whose target is the proxy itself."""
    text = f"port {port} is the proxy itself; name the port of the service behind it"
    return UpstreamUnavailable(UnavailableReason.LOOP, text)


def _diagnosis(error: Exception) -> _Diagnosis:
    if is_unknown(error):
        return _UNKNOWN_HOST
    if isinstance(error, socket.gaierror):
        return _NO_NAME_SERVER
    if isinstance(error, ConnectionRefusedError):
        return _REFUSED
    if isinstance(error, MemoryError):
        return _NO_RESOURCES
    if not isinstance(error, OSError):
        return _FAILED
    if error.errno in _UNROUTABLE:
        return _UNREACHABLE
    if error.errno in _EXHAUSTED:
        return _NO_RESOURCES
    return _SILENT if error.errno == errno.ETIMEDOUT else _FAILED
