"""One stream of an HTTP/2 client as a Stream (`net/stream.py`), for its exchange or a tunnel.

What is written becomes DATA frames. What arrives goes to the owner; while the owner does not read,
it is held here, and the client gets no more room for it. Does not know what the bytes mean.
Neighbours: `http2_connection.py` has the connection, `http2_client.py` owns the stream until a
tunnel takes it over.
"""

from collections.abc import Callable, Iterable
from typing import Any

from cmux_proxy.http2.error_codes import CANCEL, CONNECT_ERROR, NO_ERROR
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.net.stream import Data, Stream, StreamOwner


class StreamCarrier:
    """The connection, as its streams use it; `http2_connection.py` implements it."""

    __slots__ = ("number", "transport")

    transport: Stream
    number: int

    def send_data(self, stream: Http2Stream, data: bytes, is_last: bool) -> None:
        """Send body bytes, at once or when the loop turns."""
        raise NotImplementedError

    def reset(self, stream: Http2Stream, code: int) -> None:
        """End a stream at once; nothing is reported for it any more."""
        raise NotImplementedError

    def consume(self, stream: Http2Stream, size: int) -> None:
        """Give the client room for as many bytes as its owner has taken."""
        raise NotImplementedError

    def reset_when_sent(self, stream: "Http2ClientStream") -> None:
        """Call `reset_if_sent` whenever frames were sent, until it returns True."""
        raise NotImplementedError

    def lost(self, stream: Http2Stream) -> None:
        """Forget a stream that is gone; idempotent."""
        raise NotImplementedError

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call back soon, behind what has arrived."""
        raise NotImplementedError


class Http2ClientStream:
    """A stream with the methods of asyncio's transports; its owner is called as theirs are.

    `trailers` are the field lines of the client, once its end is reported.
    """

    __slots__ = (
        "_carrier", "_has_ended", "_held", "_is_closing", "_is_lost", "_is_paused", "_owner",
        "_stream", "trailers",
    )  # fmt: skip

    def __init__(self, carrier: StreamCarrier, stream: Http2Stream, owner: StreamOwner) -> None:
        self._carrier = carrier
        self._stream = stream
        self._owner: StreamOwner | None = owner
        # What has arrived while the owner did not read.
        self._held: list[bytes] = []
        self._has_ended = False
        self._is_paused = False
        self._is_closing = False
        self._is_lost = False
        self.trailers = b""

    # What the connection calls

    def receive(self, data: bytes, is_last: bool) -> None:
        """Take bytes of the client, and its end."""
        self._has_ended = self._has_ended or is_last
        if self._is_closing:
            self._carrier.consume(self._stream, len(data))
            return
        if self._is_paused or self._held:
            self._held.append(data)
        else:
            self._pass_on(data)

    def receive_trailers(self, lines: bytes) -> None:
        """Take the end of the client behind all bytes, with trailers."""
        self.trailers = lines
        self.receive(b"", True)

    def lose(self, error: Exception | None) -> None:
        """Report that the stream is gone; idempotent."""
        owner = self._owner
        if not self._is_lost and owner is not None:
            self._is_lost = self._is_closing = True
            self._owner = None
            self._held.clear()
            owner.connection_lost(error)
        self._carrier.lost(self._stream)

    def pause(self) -> None:
        """Much waits for the client."""
        if self._owner is not None:
            self._owner.pause_writing()

    def resume(self) -> None:
        """What waited has been sent."""
        if self._owner is not None:
            self._owner.resume_writing()

    def _pass_on(self, data: bytes) -> None:
        if data and self._owner is not None:
            self._owner.data_received(data)
            self._carrier.consume(self._stream, len(data))
        owner = self._owner
        has_all = self._has_ended and not self._held
        if has_all and owner is not None and not owner.eof_received():
            self.close()

    def _pass_held(self) -> None:
        """Hand over what was held, until the owner pauses again."""
        while self._held and not self._is_paused and not self._is_lost:
            self._pass_on(self._held.pop(0))

    # What the owner calls

    def write(self, data: Data, /) -> None:
        """Send bytes, as far as the client's windows allow."""
        if data and not self._is_closing:
            self._carrier.send_data(self._stream, bytes(data), False)

    def writelines(self, data: Iterable[Data], /) -> None:
        """Send several pieces of bytes in this order."""
        for piece in data:
            self.write(piece)

    def can_write_eof(self) -> bool:
        """Return True: each direction of a stream ends by itself."""
        return True

    def write_eof(self) -> None:
        """End our half behind everything that waits (RFC 9113 section 5.1)."""
        if not self._is_closing:
            self._carrier.send_data(self._stream, b"", True)

    def close(self) -> None:
        """Close once everything has been sent; the client need not send the rest."""
        if not self._is_closing:
            if not self._stream.has_response_ended():
                self._carrier.send_data(self._stream, b"", True)
            self._is_closing = True
            if not self._stream.has_request_ended():
                self._carrier.reset_when_sent(self)

    def reset_if_sent(self) -> bool:
        """Reset the stream if its response has left; return whether that is done."""
        if self._stream.has_response_ended():
            self.reset(NO_ERROR)
        return self._is_lost or self._stream.has_response_ended()

    def abort(self) -> None:
        """Reset the stream; RFC 9113 section 8.5 has the code for the connection of a tunnel."""
        self.reset(CONNECT_ERROR if self._stream.is_tunnel else CANCEL)

    def reset(self, code: int) -> None:
        """Reset the stream with this code, and report its loss in the next turn of the loop."""
        if not self._is_lost:
            self._is_closing = True
            self._carrier.reset(self._stream, code)
            self._carrier.call_soon(self._lose_quietly)

    def _lose_quietly(self) -> None:
        self.lose(None)

    def is_closing(self) -> bool:
        """Return whether it is closed, or closes."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Hold what arrives."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Hand over what was held, in the next turn of the loop."""
        self._is_paused = False
        if self._held:
            self._carrier.call_soon(self._pass_held)

    def set_protocol(self, owner: StreamOwner, /) -> None:
        """Report to another owner from now on."""
        self._owner = owner

    def get_protocol(self) -> object:
        """Return the owner."""
        return self._owner

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: the connection decides how much of a stream may wait."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the client's windows."""
        return self._stream.pending_size

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is true of the connection too: its peer, and whether it is encrypted.

        "http2" is the number of the connection and of the stream.
        """
        if name == "http2":
            return self._carrier.number, self._stream.id
        return (
            default if name == "socket" else self._carrier.transport.get_extra_info(name, default)
        )
