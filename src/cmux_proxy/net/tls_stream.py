"""A TLS session as a Stream: what its owner writes leaves encrypted over the stream beneath.

It has exactly the semantics of the streams beneath: `pause_writing` is the only callback within a
call, and a half-close is a close_notify (RFC 8446 section 6.1), with the end of the connection's
half behind it. All ciphertext that arrives is decrypted at once; plaintext that the owner does not
want yet waits here, at most one read of the stream beneath.
A peer of a server that ends without close_notify has ended in order, as in nginx and HAProxy: many
clients leave it out, and the framing of a request shows whether it is whole (RFC 9112 section 9.8).
A server that does so has broken off, because the end of a connection can be the end of a response.
Neighbours: `tls_handshake.py` makes these streams, `tls_engine.py` encrypts and decrypts.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, cast

from mypy_extensions import mypyc_attr

from cmux_proxy.net.stream import Data, FirstOwner, Loop, Stream, StreamOwner
from cmux_proxy.net.tls_engine import TlsEngine
from cmux_proxy.net.unread_bytes import UnreadBytes

_DEFAULT_READ_SIZE: Final = 256 * 1024

# Bits of a stream's state.
_CLOSING: Final = 1  # closed, lost, or closes: nothing is reported but the loss
_PAUSED: Final = 2  # the owner does not want to read
_ENDED: Final = 4  # the peer sends nothing more
_END_REPORTED: Final = 8
_NO_INPUT: Final = 16  # the stream beneath has reported its end
_SENT_END: Final = 32  # our half has ended
_OWNER_PAUSED: Final = 64  # `pause_writing` was called, `resume_writing` is due
_INTO_BUFFER: Final = 128  # the owner is a BufferedProtocol


@mypyc_attr(free_list_len=1)
class TlsStream:
    """A stream over `inner`, whose owner it is; `max_size` is how much its owner gets at a time."""

    __slots__ = (
        "_early", "_engine", "_error", "_inner", "_is_server", "_loop", "_owner", "_state",
        "_unread", "max_size",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, inner: Stream, engine: TlsEngine, is_server: bool, early: bytes
    ) -> None:
        self._loop = loop
        self._inner = inner
        self._engine = engine
        self._is_server = is_server
        # Ciphertext that came with the end of the handshake.
        self._early = early
        # Plaintext that the owner has not taken.
        self._unread = UnreadBytes()
        self._owner: StreamOwner | None = None
        self._error: Exception | None = None
        self._state = 0
        self.max_size = _DEFAULT_READ_SIZE

    def start(self, owner: FirstOwner, is_write_paused: bool) -> None:
        """Report to an owner from now on, beginning with `connection_made`."""
        self.set_protocol(owner)
        owner.connection_made(self)
        if is_write_paused:
            self.pause_writing()
        self.data_received(self._early)
        self._early = b""

    # What its owner calls

    def write(self, data: Data, /) -> None:
        """Encrypt bytes and send them."""
        if self._may_write() and len(data) > 0:
            self._inner.write(self._engine.encrypt(data))

    def writelines(self, data: Iterable[Data], /) -> None:
        """Encrypt several pieces of bytes and send them in this order, in one write."""
        if self._may_write():
            self._inner.write(self._engine.encrypt_parts(data))

    def _may_write(self) -> bool:
        """Return whether a write has an effect; raise RuntimeError after `write_eof`."""
        if self._state & (_CLOSING | _SENT_END) == _SENT_END:
            raise RuntimeError("write after write_eof")
        return not self._state & _CLOSING and self._engine.failure is None

    def can_write_eof(self) -> bool:
        """Return True: close_notify ends one half."""
        return True

    def write_eof(self) -> None:
        """End our half once everything has been sent; raise OSError where that fails at once."""
        if self._state & (_CLOSING | _SENT_END):
            return
        self._state |= _SENT_END
        self._inner.write(self._engine.end())
        if self._inner.can_write_eof():
            self._inner.write_eof()

    def close(self) -> None:
        """Close once everything has been sent, with close_notify."""
        if self._state & _CLOSING:
            return
        self._state |= _CLOSING
        self._unread.clear()
        if not self._state & _SENT_END and not self._inner.is_closing():
            self._inner.write(self._engine.end())
        self._inner.close()

    def abort(self) -> None:
        """Close at once, without close_notify, and discard what waits to be sent."""
        self._state |= _CLOSING
        self._unread.clear()
        self._inner.abort()

    def is_closing(self) -> bool:
        """Return whether it is closed, or closes."""
        return self._state & _CLOSING != 0 or self._inner.is_closing()

    def pause_reading(self) -> None:
        """Leave what arrives with the kernel."""
        if not self._state & _PAUSED:
            self._state |= _PAUSED
            if self._has_input():
                self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again; plaintext that waits is handed over in the next turn of the loop."""
        if self._state & _PAUSED:
            self._state &= ~_PAUSED
            if self._unread.size > 0 or self._state & (_ENDED | _END_REPORTED) == _ENDED:
                self._loop.call_soon(self._deliver_later)
            if self._has_input():
                self._inner.resume_reading()

    def _has_input(self) -> bool:
        return not self._state & _NO_INPUT and not self._inner.is_closing()

    def set_protocol(self, owner: StreamOwner, /) -> None:
        """Report to another owner from now on."""
        self._owner = owner
        if isinstance(owner, asyncio.BufferedProtocol):
            self._state |= _INTO_BUFFER
        else:
            self._state &= ~_INTO_BUFFER

    def get_protocol(self) -> object:
        """Return the owner; None once the connection is lost."""
        return self._owner

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait; all of them wait beneath, encrypted."""
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent, encrypted."""
        return self._inner.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what asyncio's transports of TLS know, or the stream beneath.

        "unread_size" is how many bytes the owner has not taken.
        """
        if name == "sslcontext":
            return self._engine.context
        if name == "ssl_object":
            return self._engine.session
        if name == "unread_size":
            return self._unread.size
        return self._inner.get_extra_info(name, default)

    # What the stream beneath calls

    def data_received(self, data: bytes, /) -> None:
        """Decrypt all that has arrived, and hand it over."""
        if self._state & (_CLOSING | _ENDED):
            return
        engine = self._engine
        plaintext = engine.decrypt(data)
        if engine.has_outgoing() and not self._state & _SENT_END:
            # Such as the alert to a bad record, or new keys.
            self._inner.write(engine.take_outgoing())
        if engine.has_ended:
            self._state |= _ENDED
        if len(plaintext) > 0:
            self._unread.add(plaintext)
        self._deliver()
        if engine.failure is not None:
            self._break_off(engine.failure)

    def eof_received(self) -> bool:
        """Take the end of the stream beneath for that of the peer's half."""
        self._state |= _NO_INPUT
        if not self._state & (_CLOSING | _ENDED):
            self._state |= _ENDED
            if not self._is_server:
                self._break_off(ConnectionResetError("the peer has ended without close_notify"))
            self._deliver()
        return True

    def connection_lost(self, error: Exception | None, /) -> None:
        """Report the loss."""
        self._state |= _CLOSING
        self._unread.clear()
        owner = self._owner
        # Without the cycle of stream and owner, neither waits for the garbage collector.
        self._owner = None
        if owner is not None:
            owner.connection_lost(error if self._error is None else self._error)

    def pause_writing(self) -> None:
        """Pass back-pressure on, unless nothing more can be written anyway."""
        if self._owner is not None and not self._state & (_CLOSING | _SENT_END):
            self._state |= _OWNER_PAUSED
            self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Pass the end of back-pressure on."""
        if self._owner is not None and self._state & _OWNER_PAUSED:
            self._state &= ~_OWNER_PAUSED
            self._owner.resume_writing()

    def _deliver(self) -> None:
        """Hand plaintext over, and then the end, until the owner pauses or closes."""
        # The owner, and what it wants, may change with each call.
        while self._unread.size > 0 and not self._state & (_PAUSED | _CLOSING):
            if self._owner is None:
                return
            if self._state & _INTO_BUFFER:
                self._unread.fill(cast(asyncio.BufferedProtocol, self._owner))
            else:
                self._owner.data_received(self._unread.take(self.max_size))
        if self._state & (_ENDED | _END_REPORTED | _PAUSED | _CLOSING) == _ENDED:
            self._state |= _END_REPORTED
            if self._owner is not None and not self._owner.eof_received():
                self.close()

    def _deliver_later(self) -> None:
        """Hand over what has waited; an error of the owner drops the connection."""
        try:
            self._deliver()
        except BaseException:
            self.abort()
            raise

    def _break_off(self, error: Exception) -> None:
        if not self._state & _CLOSING:
            self._error = error
            self.abort()
