"""Back-pressure: while one side does not read, the other side is not read.

A connection may have several reasons not to be read; it is read again when the last one is gone.
With a write buffer limit of zero a stream buffers at most one write, which is at most one read of
the other side, so that no more than that is ever buffered. Knows nothing of what the bytes mean.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.net.stream import Stream

# Why a connection is not read, as bits.
PEER_FULL: Final = 1  # the other side does not take what was read
PIPELINE_FULL: Final = 2  # enough pipelined bytes wait for their turn
ENDED: Final = 4  # the peer has sent its end; reading again would report the end again
UNSENT: Final = 8  # much of its request waits for a connection


@mypyc_attr(free_list_len=1)
class ReadControl:
    """Stops reading one stream for several reasons, and reads again when none is left."""

    __slots__ = ("_reasons", "stream")

    def __init__(self) -> None:
        # Set when the stream is there.
        self.stream: Stream
        self._reasons = 0

    def is_stopped(self) -> bool:
        """Return whether the stream is not read."""
        return self._reasons != 0

    def is_stopped_for(self, reason: int) -> bool:
        """Return whether reading is stopped for this reason."""
        return self._reasons & reason != 0

    def stop(self, reason: int) -> None:
        """Stop reading; idempotent."""
        if not self._reasons and not self.stream.is_closing():
            self.stream.pause_reading()
        self._reasons |= reason

    def resume(self, reason: int) -> None:
        """Read again unless another reason is left; idempotent."""
        if self._reasons:
            self._reasons &= ~reason
            if not self._reasons and not self.stream.is_closing():
                self.stream.resume_reading()

    def note_end(self) -> None:
        """The peer has ended its half: reading again would report its end again."""
        self._reasons |= ENDED
