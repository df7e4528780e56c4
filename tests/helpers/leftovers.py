"""What lives no longer than a connection, and must be gone with it."""

import gc
from collections import Counter
from typing import Final

_KINDS: Final = {
    "Bulk",
    "Http1Connection",
    "Dial",
    "Exchange",
    "LingeringClose",
    "Tunnel",
    "TunnelSide",
    "UpstreamConnection",
}


def left() -> Counter[str]:
    """Return how many there are of each kind; meant for while the collector is off."""
    names = Counter(type(one).__name__ for one in gc.get_objects())
    return Counter({name: names[name] for name in _KINDS if names[name]})
