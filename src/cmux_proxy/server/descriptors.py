"""How many connections the process's file descriptors allow, so that accepting never runs out.

When a connection cannot be accepted for want of a descriptor, the event loops drop it or spin;
so accepting pauses well before.
"""

import resource
from typing import Final, NamedTuple

# Each client may need an upstream connection too; a fifth is left for everything else.
_SHARE_OF_CLIENTS: Final = 0.8 / 2
_SHARE_OF_REST: Final = 0.2
# The event loop, the listening sockets, logs, name look-ups.
_RESERVE: Final = 24


# What may be accepted in one go before anybody is asked: a burst of a thousand connections must
# find room in the kernel's queue.
BACKLOG: Final = 2048
# Enough for any machine that one process serves.
_WANTED: Final = 65536


class Budget(NamedTuple):
    """The most clients at a time, the most idle upstream connections, and room for bursts."""

    clients: float
    idle: int
    bursts: bool


def budget(idle: int) -> Budget:
    """Return what RLIMIT_NOFILE allows, at most `idle` idle upstream connections among it."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return Budget(float("inf"), idle, True)
    idle = min(idle, descriptors // 8)
    clients = min(descriptors * _SHARE_OF_CLIENTS, (descriptors - _RESERVE - idle) / 2)
    return Budget(max(1.0, clients), idle, descriptors * _SHARE_OF_REST >= BACKLOG)


def raise_limit() -> None:
    """Raise the soft limit on descriptors towards the hard one, as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # macOS has a lower limit that it does not tell; what there is has to do.
            return
