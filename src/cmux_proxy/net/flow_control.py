"""Back-pressure: while one side does not read, the other side is not read.

A connection may have several reasons not to be read; it is read again when the last one is gone.
With a write buffer limit of zero a stream buffers at most one write, which is at most one read of
the other side, so that no more than that is ever buffered. Knows nothing of what the bytes mean.
"""

from typing import Final

from cmux_proxy.net.timers import Unread

# Why a connection is not read, as bits.
PEER_FULL: Final = 1  # the other side does not take what was read
PIPELINE_FULL: Final = 2  # enough pipelined bytes wait for their turn
ENDED: Final = 4  # the peer has sent its end; reading again would report the end again
UNSENT: Final = 8  # much of its request waits for a connection


class FlowControlledConnection(Unread):
    """A connection whose reading can be paused for several reasons."""

    __slots__ = ("_holds", "is_write_paused")

    def __init__(self) -> None:
        super().__init__()
        self._holds = 0
        self.is_write_paused = False

    def add_unread(self, unread: list[Unread]) -> None:
        """Add it while reading is paused, also if only because the peer has ended."""
        if self._holds:
            unread.append(self)

    def is_held(self, reason: int) -> bool:
        """Return whether reading is paused for this reason."""
        return self._holds & reason != 0

    def hold_reading(self, reason: int) -> None:
        """Pause reading for a reason; idempotent."""
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds |= reason

    def release_reading(self, reason: int) -> None:
        """Resume reading unless another reason is left; idempotent."""
        if self._holds:
            self._holds &= ~reason
            if not self._holds and not self.transport.is_closing():
                self.transport.resume_reading()
