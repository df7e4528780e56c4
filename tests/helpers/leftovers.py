"""Finds objects that live no longer than a connection and must be freed with it."""

import gc
from collections import Counter
from typing import Final

# Exchanges are kept for the next requests; one that still has its request holds its connections.
_CLASSES: Final = {
    "Http1Connection",
    "Dial",
    "Http2Client",
    "Http2ClientStream",
    "Http2Connection",
    "Http2Stream",
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
