"""Connection limits that follow from the process's limit on file descriptors (RLIMIT_NOFILE).

Event loops drop connections or spin when they cannot accept because no descriptor is left, so
accepting pauses well before. Does not know who accepts or counts connections.
"""

import resource
from typing import Final, NamedTuple

from cmux_proxy.errors import ListenError
from cmux_proxy.net.socket_options import LISTEN_BACKLOG
from cmux_proxy.relay.stream_budget import UNLIMITED

# Each client may need an upstream connection too; a fifth of the descriptors is for everything
# else.
_CLIENT_SHARE: Final = 0.8 / 2
_BURST_SHARE: Final = 0.2
# The event loop, the listening sockets, log files, DNS queries.
_RESERVED_DESCRIPTORS: Final = 24
# Event loops fail at their start with fewer descriptors, each with another error.
_MIN_DESCRIPTORS: Final = 32
# Connections of the admin listener, as long as three quarters of the descriptors are left.
_MAX_ADMIN_CONNECTIONS: Final = 64
_ADMIN_DIVISOR: Final = 4
# Concurrent requests of the admin process to a worker, including those that it has abandoned.
_MAX_STATS_REQUESTS: Final = 16

# Enough for any machine that one process serves.
_RAISED_LIMIT: Final = 65536
_ASSUMED_LIMIT: Final = 1024


class ConnectionLimits(NamedTuple):
    """The limits of one worker; None and UNLIMITED mean no limit.

    Idle upstream connections are closed above `max_upstreams`. `max_exchanges` bounds the clients
    of HTTP/1 and the streams of HTTP/2 together, each of which may need an upstream connection.
    `accepts_bursts` is whether there are enough descriptors to accept a full backlog without
    checking `max_clients` in between.
    """

    max_clients: int
    max_upstreams: int | None
    max_exchanges: int
    accepts_bursts: bool


def connection_limits(max_clients: int | None = None, reserved: int = 0) -> ConnectionLimits:
    """Return the limits that RLIMIT_NOFILE allows, with at most `max_clients`.

    `reserved` descriptors are left for other uses. A configured limit on clients holds exactly, so
    it excludes bursts.
    """
    client_limit = UNLIMITED if max_clients is None else max_clients
    descriptors = descriptor_limits()[0]
    if descriptors == resource.RLIM_INFINITY:
        return ConnectionLimits(client_limit, None, UNLIMITED, max_clients is None)
    descriptors -= reserved
    share = min(descriptors * _CLIENT_SHARE, (descriptors - _RESERVED_DESCRIPTORS) / 2)
    room = max(1, int(share))
    accepts_bursts = max_clients is None and descriptors * _BURST_SHARE >= LISTEN_BACKLOG
    return ConnectionLimits(min(client_limit, room), room, room, accepts_bursts)


def descriptor_limits() -> tuple[int, int]:
    """Return the soft and the hard limit on descriptors.

    A sandbox may forbid `prlimit64`. Then both limits are assumed to be what is usual, and the soft
    limit is not raised.
    """
    try:
        return resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return _ASSUMED_LIMIT, _ASSUMED_LIMIT


def check_descriptor_limit(address: str) -> None:
    """Raise ListenError for this address where the limit is too low to serve."""
    soft_limit = descriptor_limits()[0]
    if soft_limit != resource.RLIM_INFINITY and soft_limit < _MIN_DESCRIPTORS:
        reason = (
            f"only {soft_limit} open files are allowed (ulimit -n), "
            f"and {_MIN_DESCRIPTORS} are needed"
        )
        raise ListenError(address, reason)


def max_admin_connections() -> int:
    """Return how many connections the admin listener of this process may have."""
    descriptors = descriptor_limits()[0]
    if descriptors == resource.RLIM_INFINITY:
        return _MAX_ADMIN_CONNECTIONS
    return max(2, min(_MAX_ADMIN_CONNECTIONS, descriptors // _ADMIN_DIVISOR))


def reserved_for_admin(workers: int) -> int:
    """Return how many descriptors each of these workers reserves for the admin listener."""
    if workers == 1:
        return max_admin_connections()
    return min(_MAX_STATS_REQUESTS, max_admin_connections())


def raise_descriptor_limit() -> None:
    """Raise the soft limit on descriptors towards the hard limit, as far as possible."""
    soft, hard = descriptor_limits()
    target = _RAISED_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _RAISED_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < target:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        except (OSError, ValueError):
            # macOS enforces a lower limit that it does not report; the current one stays.
            return
