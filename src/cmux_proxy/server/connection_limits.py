"""How many connections the process's file descriptors allow, so that accepting never runs out.

When a connection cannot be accepted for want of a descriptor, the event loops drop it or spin;
so accepting pauses well before.
"""

import math
import resource
from typing import Final, NamedTuple

from cmux_proxy.errors import ListenError

# Each client may need an upstream connection too; a fifth is left for everything else.
_SHARE_OF_CLIENTS: Final = 0.8 / 2
_SHARE_OF_REST: Final = 0.2
# The event loop, the listening sockets, logs, name look-ups.
_RESERVE: Final = 24
# With fewer, event loops fail at their start, each in a way of its own.
_MINIMUM: Final = 32
# Connections to the admin listener, as far as they leave the proxy three quarters.
_ADMIN_CONNECTIONS: Final = 64
_ADMIN_SHARE: Final = 4
# Questions of the admin process that a worker answers at a time, and those that it has given up.
_QUESTIONS: Final = 16

# What may be accepted in one go before anybody is asked: a burst of a thousand connections must
# find room in the kernel's queue.
BACKLOG: Final = 2048
# Enough for any machine that one process serves.
_WANTED: Final = 65536
_UNKNOWN: Final = 1024


class Budget(NamedTuple):
    """The most clients at a time, upstream connections before idle ones go, and room for bursts.

    None is no limit.
    """

    clients: float
    upstreams: int | None
    bursts: bool


def budget(clients: int | None = None, aside: int = 0) -> Budget:
    """Return what RLIMIT_NOFILE allows, with at most so many clients.

    So many descriptors are set `aside`. A limit on clients is to be met exactly, so it leaves no
    room for bursts.
    """
    most = math.inf if clients is None else clients
    descriptors = limits()[0]
    if descriptors == resource.RLIM_INFINITY:
        return Budget(most, None, clients is None)
    descriptors -= aside
    room = max(1.0, min(descriptors * _SHARE_OF_CLIENTS, (descriptors - _RESERVE) / 2))
    bursts = clients is None and descriptors * _SHARE_OF_REST >= BACKLOG
    return Budget(min(most, room), int(room), bursts)


def limits() -> tuple[int, int]:
    """Return the soft and the hard limit on descriptors.

    A sandbox may forbid to ask, as it may forbid all else with `prlimit64`. Then the soft limit is
    taken to be what it is on most systems, and is not raised.
    """
    try:
        return resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return _UNKNOWN, _UNKNOWN


def check_limit(address: str) -> None:
    """Raise ListenError, about an address to listen on, where the limit is too low to serve."""
    allowed = limits()[0]
    if allowed != resource.RLIM_INFINITY and allowed < _MINIMUM:
        reason = f"only {allowed} open files are allowed (ulimit -n), and {_MINIMUM} are needed"
        raise ListenError(address, reason)


def admin_connections() -> int:
    """Return how many connections the admin listener of this process may have."""
    descriptors = limits()[0]
    if descriptors == resource.RLIM_INFINITY:
        return _ADMIN_CONNECTIONS
    return max(2, min(_ADMIN_CONNECTIONS, descriptors // _ADMIN_SHARE))


def set_aside_for_admin(workers: int) -> int:
    """Return how many descriptors of a proxy are for the admin listener, one of so many."""
    return admin_connections() if workers == 1 else min(_QUESTIONS, admin_connections())


def raise_limit() -> None:
    """Raise the soft limit on descriptors towards the hard one, as far as it goes."""
    soft, hard = limits()
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # macOS has a lower limit that it does not tell; what there is has to do.
            return
