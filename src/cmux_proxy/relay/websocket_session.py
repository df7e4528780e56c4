"""One client's end of a tunnel inside a WebSocket: acts on its frames, pings it, and closes.

A client that ends without a Close frame, breaks a rule or answers no ping is lost with an error,
because what it sent last may be missing. Payload is handed on as it arrives. Neighbours:
`websocket/tunnel_reader.py` reads frames, `websocket_stream.py` is what the owner calls,
`websocket_pings.py` knows when pings are due, `websocket_closing.py` has the closing handshake.
"""

from typing import Final

from cmux_proxy.net.closing import send_end
from cmux_proxy.net.stream import Stream, StreamOwner
from cmux_proxy.net.timers import Timed
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.websocket_closing import CLOSE_TIMEOUT, ClosingHandshake
from cmux_proxy.relay.websocket_pings import GIVE_UP, PING_INTERVAL, SEND_PING, Pings
from cmux_proxy.websocket.close_codes import NORMAL, is_orderly
from cmux_proxy.websocket.tunnel_frames import END_OF_HALF, PING, PONG, TEXT, frame
from cmux_proxy.websocket.tunnel_reader import BROKEN, CLOSED, ENDED, PINGED, PONGED, TunnelReader

# Bits of a session's state.
CLOSING: Final = 1  # closed, lost, or closes: nothing is reported but the loss
PAUSED: Final = 2  # the owner does not want to read
CLIENT_ENDED: Final = 4
SENT_END: Final = 8  # our half has ended
_WRITE_PAUSED: Final = 16  # the client does not read
_HALF_CLOSE: Final = 32  # a text message ends a half


class WebSocketSession(Timed):
    """The owner of the client's stream `inner`; `owner` gets the bytes, as from any stream."""

    __slots__ = ("_closing", "_pong", "_reader", "_services", "inner", "owner", "pings", "state")

    def __init__(self, services: Services, inner: Stream, has_half_close: bool) -> None:
        super().__init__()
        self._services = services
        self.inner = inner
        self.owner: StreamOwner | None = None
        self._reader = TunnelReader(True, has_half_close)
        self._closing = ClosingHandshake()
        self.pings = Pings(services.ticker.now)
        # The payload of a ping that is answered once there is room.
        self._pong: bytes | None = None
        self.state = _HALF_CLOSE if has_half_close else 0
        self.deadline = services.ticker.now + PING_INTERVAL

    def start(self, response: bytes, early: bytes, has_ended: bool) -> None:
        """Send the response, then take what came behind the request; the owner is set."""
        self._services.registry.websockets.add(self)
        self._services.read_size.install(self.inner, self)
        if response:
            self.inner.write(response)
        if early:
            self.data_received(early)
        if has_ended and not self.eof_received():
            self.inner.close()

    # What the stream of the owner calls

    def note_sent(self, size: int) -> None:
        """Bytes were sent."""
        self.pings.note_sent(self._services.ticker.now, size)

    def end_half(self) -> None:
        """End our half behind everything that waits, with a Close if there is no other way."""
        self.state |= SENT_END
        if self.state & _HALF_CLOSE:
            self.inner.write(frame(TEXT, END_OF_HALF))
        else:
            self._send_close(NORMAL, "")

    def close(self) -> None:
        """Close once everything has been sent and the client has sent its Close; idempotent."""
        if self.state & CLOSING:
            return
        self.state |= CLOSING
        self._send_close(NORMAL, "")
        if self._closing.has_received:
            self.inner.close()
        else:
            self._read_on()

    def resume_reading(self) -> None:
        """Read again; a pong may be among what has waited."""
        self.deadline = max(self.deadline, self._services.ticker.now + PING_INTERVAL)
        self._read_on()

    def _read_on(self) -> None:
        self.state &= ~PAUSED
        if not self.inner.is_closing():
            self.inner.resume_reading()

    # What the client's stream calls

    def data_received(self, data: bytes) -> None:
        """Hand over the bytes in the frames, then act on the other frames."""
        self.pings.note_heard(self._services.ticker.now)
        payload = self._reader.feed(data)
        if payload and self.owner is not None and not self.state & CLOSING:
            self.owner.data_received(payload)
        if self._reader.news:
            self._act_on(self._reader)

    def eof_received(self) -> bool:
        """Keep the stream for our half if the client has ended its own; otherwise it has failed."""
        if self.state & (CLOSING | CLIENT_ENDED) == CLIENT_ENDED:
            return True
        self._lose(ConnectionResetError("the client has ended without a Close frame"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Report the loss, and leave the registry."""
        registry = self._services.registry
        registry.websockets.discard(self)
        registry.lingering.discard(self)
        self._lose(error)
        self._services.client_gone(self.inner)

    def pause_writing(self) -> None:
        """The client does not read."""
        self.state |= _WRITE_PAUSED
        if self.owner is not None:
            self.owner.pause_writing()

    def resume_writing(self) -> None:
        """The client reads again: send what has waited for that."""
        self.state &= ~_WRITE_PAUSED
        if self._pong is not None:
            self._answer(self._pong)
        if self.owner is not None and not self.state & _WRITE_PAUSED:
            self.owner.resume_writing()

    def _lose(self, error: Exception | None) -> None:
        """Report the loss once; without the cycle, no garbage collection is needed."""
        self.state |= CLOSING
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.connection_lost(error)

    # Frames besides payload

    def _act_on(self, reader: TunnelReader) -> None:
        news, reader.news = reader.news, 0
        if news & PONGED:
            self.pings.note_pong()
        if news & PINGED:
            self._answer(reader.ping)
        if news & ENDED:
            self._end()
        if news & CLOSED:
            self._take_close(reader.code)
        elif news & BROKEN:
            self._refuse(reader.code, reader.reason)

    def _answer(self, ping: bytes) -> None:
        """Send a pong at once, or that of the last ping once there is room (section 5.5.3)."""
        self._pong = ping if self.state & _WRITE_PAUSED else None
        if self._pong is None and not self._closing.has_sent:
            self.inner.write(frame(PONG, ping))

    def _end(self) -> None:
        """The client has ended its half: more frames may come, but no payload."""
        if self.owner is not None and not self.state & (CLIENT_ENDED | CLOSING):
            self.state |= CLIENT_ENDED
            if not self.owner.eof_received():
                self.close()
            self._read_on()

    def _take_close(self, code: int) -> None:
        """Take the client's Close: its end, or a failure unless the code is of an end."""
        self._closing.has_received = True
        if not self.state & CLOSING and not is_orderly(code):
            self._send_close(code, "")
            self._lose(ConnectionResetError(f"the client has closed with code {code}"))
        self._end()
        if self.state & CLOSING:
            self.inner.close()
        elif self.state & _HALF_CLOSE:
            self.close()

    def _refuse(self, code: int, reason: str) -> None:
        """Close because of a broken rule, so that the client can read why (section 7.1.7)."""
        self._send_close(code, reason)
        self._lose(ConnectionResetError(reason))
        services = self._services
        services.registry.websockets.discard(self)
        services.registry.lingering.add(self)
        self.deadline = services.ticker.now + services.timeouts.linger
        send_end(self.inner)
        self._read_on()

    def _send_close(self, code: int, reason: str) -> None:
        self.deadline = self._services.ticker.now + CLOSE_TIMEOUT
        self._closing.send(self.inner, code, reason)

    # Time

    def deadline_passed(self) -> None:
        """Send a ping, or give up a client that does not answer."""
        now = self._services.ticker.now
        if self._closing.has_sent:
            if self._closing.progresses(self.inner):
                self.deadline = now + CLOSE_TIMEOUT
            else:
                self._lose(TimeoutError("no Close frame came in return"))
                self._closing.give_up(self.inner)
            return
        due = self.pings.due(now, self.inner, not self.state & PAUSED)
        if due == GIVE_UP:
            self._lose(TimeoutError("no pong came in return"))
            self.inner.abort()
            return
        if due == SEND_PING:
            self.inner.write(frame(PING, b""))
        self.deadline = self.pings.next_check(now)

    def abort(self) -> None:
        """Abort the connection."""
        self.inner.abort()
