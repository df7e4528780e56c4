"""How a process that only serves handles its memory. Not for the processes of embedders."""

import gc
from typing import Final

from cmux_proxy._build import HAS_NATIVE

if HAS_NATIVE:
    from cmux_proxy.net._malloc import keep_free_memory

# Objects between two garbage collections; the interpreter's default is 700.
_COLLECTION_THRESHOLD: Final = 10_000
# Bytes. All that waits of a connection over HTTP/2 (1 MiB), in pieces of 256 KiB, is freed at once
# when it was sent. glibc gives it back to the kernel, and for the next pieces the kernel clears new
# pages, which costs more than everything else that is done for such a transfer.
_KEPT_FREE: Final = 4 * 1024 * 1024


def tune_memory() -> None:
    """Call it once the process serves: what lives as long as the process exists then."""
    _tune_garbage_collector()
    if HAS_NATIVE:
        keep_free_memory(_KEPT_FREE)


def _tune_garbage_collector() -> None:
    """Exclude the objects that live as long as the process, and collect less often.

    Connections and exchanges are not part of reference cycles when they end, so they do not need
    it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTION_THRESHOLD)
