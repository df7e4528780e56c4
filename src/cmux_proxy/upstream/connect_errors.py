"""Why no connection came about -> what the client is told (RFC 9209 section 2.3)."""

import errno
import logging
import socket
from typing import Final, NamedTuple

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.dns_cache import is_unknown

_log = logging.getLogger("cmux_proxy")

REFUSED: Final = "connection_refused"

_UNROUTABLE: Final = frozenset(
    getattr(errno, name)
    for name in ("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "EACCES", "ENODEV")
)
_EXHAUSTED: Final = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
_NOTHING_LEFT: Final = "no resources left for a connection to {}; try again soon"


# uvloop may raise RuntimeError where a connection attempt fails in an unusual way.
_EXPECTED: Final = (OSError, UnicodeError, RuntimeError, MemoryError)


class _Refusal(NamedTuple):
    status: int
    error: str
    says: str


def unavailable(target: Target, error: Exception) -> UpstreamUnavailable:
    """Return what a client is told of any error; log one that is none of the network's."""
    if not isinstance(error, _EXPECTED):
        _log.error("defect: %s could not be dialled", target.authority(), exc_info=error)
    refusal = _refusal(error)
    return UpstreamUnavailable(
        refusal.status, refusal.says.format(target.authority()), refusal.error
    )


def too_late(target: Target, seconds: float) -> UpstreamUnavailable:
    """Return what a client is told that has waited for a connection for so many seconds."""
    text = f"no connection to {target.authority()} within {seconds:g} s"
    return UpstreamUnavailable(504, text, "connection_timeout")


def too_many(target: Target) -> UpstreamUnavailable:
    """Return what a client is told whose target may have no more connections."""
    text = f"{target.authority()} has as many connections as it may have"
    return UpstreamUnavailable(
        503, f"{text} (--max-upstream-connections)", "connection_limit_reached"
    )


def _refusal(error: Exception) -> _Refusal:
    if is_unknown(error):
        return _Refusal(502, "dns_error", "the host of {} is not known")
    if isinstance(error, socket.gaierror):
        says = "the host of {} could not be looked up; is there a name server that answers?"
        return _Refusal(502, "dns_error", says)
    if isinstance(error, ConnectionRefusedError):
        says = "nothing listens on {}; start the service or check the port"
        return _Refusal(502, REFUSED, says)
    if isinstance(error, MemoryError):
        return _Refusal(503, "connection_limit_reached", _NOTHING_LEFT)
    if not isinstance(error, OSError):
        return _Refusal(502, "connection_terminated", "the connection to {} failed")
    if error.errno in _UNROUTABLE:
        return _Refusal(502, "destination_ip_unroutable", "{} is unreachable")
    if error.errno in _EXHAUSTED:
        return _Refusal(503, "connection_limit_reached", _NOTHING_LEFT)
    if error.errno == errno.ETIMEDOUT:
        return _Refusal(504, "connection_timeout", "{} did not answer the connection attempt")
    return _Refusal(502, "connection_terminated", "the connection to {} failed")
