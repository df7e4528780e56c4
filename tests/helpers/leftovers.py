"""Finds objects that live no longer than a connection and must be freed with it."""

import gc
from collections import Counter
from typing import Final

_CLASSES: Final = {
    "Http1Connection",
    "Dial",
    "Exchange",
    "LingeringClose",
    "SpliceTransfer",
    "Tunnel",
    "TunnelSide",
    "UpstreamConnection",
}


def live_objects() -> Counter[str]:
    """Return the number of live objects by class; call it while the garbage collector is off."""
    names = Counter(type(item).__name__ for item in gc.get_objects())
    return Counter({name: names[name] for name in _CLASSES if names[name]})
