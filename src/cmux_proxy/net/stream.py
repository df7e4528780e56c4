"""The names of I/O that the rooms above use: Stream, its owner, and Loop.

A Stream is one connection: bytes in order, in both directions. Its methods have the names of
asyncio's transports, so that on asyncio and uvloop a Stream is the transport itself and a Loop the
event loop itself, and a call costs what it costs there. What asyncio has no name for is a function
that takes a Stream or a Loop: see `asyncio_backend.py`, `closing.py`, `peer.py` and
`socket_queues.py`. These are protocols for the type checker, and there is no code in them.
Does not know which event loop runs.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

Data = bytes | bytearray | memoryview


class StreamOwner(Protocol):
    """What a stream reports to; `set_protocol` changes it."""

    def data_received(self, data: bytes, /) -> None:
        """Take the bytes that have arrived."""

    def eof_received(self) -> bool | None:
        """The peer sends nothing more; return whether the stream stays open for our half."""

    def connection_lost(self, error: Exception | None, /) -> None:
        """The stream is gone; `error` is None after `close`, `abort` and the end of both halves."""

    def pause_writing(self) -> None:
        """More waits to be sent than the write buffer limit allows."""

    def resume_writing(self) -> None:
        """What waited has been sent."""


class FirstOwner(StreamOwner, Protocol):
    """What a stream reports to from its beginning."""

    def connection_made(self, stream: "Stream", /) -> None:
        """Take the new stream; called before everything else."""


class Stream(Protocol):
    """One connection, as its owner uses it."""

    def write(self, data: Data, /) -> None:
        """Send bytes, or keep those that the peer does not take yet."""

    def writelines(self, data: Iterable[Data], /) -> None:
        """Send several pieces of bytes in this order."""

    def can_write_eof(self) -> bool:
        """Return whether `write_eof` may be called (`asyncio_backend.can_half_close`)."""

    def write_eof(self) -> None:
        """End our half once everything has been sent."""

    def close(self) -> None:
        """Close once everything has been sent."""

    def abort(self) -> None:
        """Close at once, and discard what waits to be sent."""

    def is_closing(self) -> bool:
        """Return whether it is closed, or closes."""

    def pause_reading(self) -> None:
        """Leave what arrives with the kernel."""

    def resume_reading(self) -> None:
        """Read again."""

    def set_protocol(self, owner: StreamOwner, /) -> None:
        """Report to another owner from now on."""

    def get_protocol(self) -> object:
        """Return the owner, or a `BufferedAdapter` in front of it."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait to be sent before `pause_writing` is called."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent, without those that the kernel has."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what a backend knows besides; `net` alone calls this."""


# Calls back in the next turn of the loop or before it, behind the events that have arrived by now.
CallSoon = Callable[[Callable[[], object]], object]


class Handle(Protocol):
    """A call that is due later, or a task that runs."""

    def cancel(self) -> object:
        """Do not make the call; end the task."""


class Loop(Protocol):
    """An event loop: the clock, and calls that are made later."""

    def time(self) -> float:
        """Return now, in seconds of a monotonic clock."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Call back in the next turn of the loop."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back after `delay` seconds."""
