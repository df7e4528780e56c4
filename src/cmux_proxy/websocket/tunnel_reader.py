"""Reads the frames of a peer: bytes that are split in any way -> the bytes of a tunnel.

A payload is handed on as it arrives; only heads of frames, control frames and text messages are
held until they are whole. Does not know what is sent in return: the caller looks at `news`.
Neighbours: `tunnel_frames.py` makes frames, `masking.py` unmasks them.
"""

from typing import Final

from cmux_proxy.websocket.close_codes import (
    INVALID_PAYLOAD,
    NO_STATUS,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED_DATA,
    may_be_sent,
)
from cmux_proxy.websocket.masking import KEY_SIZE, mask
from cmux_proxy.websocket.tunnel_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    END_OF_HALF,
    FIN,
    LENGTH_16,
    MASKED,
    MAX_CONTROL,
    MAX_FRAME,
    PING,
    PONG,
    RESERVED,
    TEXT,
)

# What came besides payload, as bits of `news`.
PINGED: Final = 1  # `ping` is the payload of the last ping
PONGED: Final = 2
ENDED: Final = 4  # the peer has ended its half with a text message
CLOSED: Final = 8  # a Close frame, with `code` and `reason`: nothing counts that follows
BROKEN: Final = 16  # a rule was broken: `code` and `reason` are for the Close frame in return

# How long a head is without its key, by the seven bits of its length, and what the key adds.
_HEAD: Final = 2
_HEAD_16: Final = 4
_HEAD_64: Final = 10
_MIN_LENGTH_64: Final = 0x10000


class TunnelReader:
    """The reader of one peer; `is_masked` says that it is a client (RFC 6455 section 5.1).

    `has_half_close` says that `opening.HALF_CLOSE` was agreed on. `news` has the bits above, and
    the caller clears those that it has acted on.
    """

    __slots__ = (
        "_has_ended", "_has_half_close", "_held", "_is_fragmented", "_is_masked", "_is_over",
        "_key", "_left", "_phase", "code", "news", "ping", "reason",
    )  # fmt: skip

    def __init__(self, is_masked: bool, has_half_close: bool) -> None:
        self._is_masked = is_masked
        self._has_half_close = has_half_close
        # The begin of a head or of a short frame that is not whole.
        self._held = b""
        # How much of the payload of a binary frame is to come, and with which key.
        self._left = 0
        self._key = b""
        self._phase = 0
        # Whether another frame of the same message has to follow.
        self._is_fragmented = False
        self._has_ended = False
        self._is_over = False
        self.news = 0
        self.ping = b""
        self.code = 0
        self.reason = ""

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived; return the bytes of the tunnel in it, before all `news`."""
        if self._is_over:
            return b""
        if self._held:
            data = self._held + data
            self._held = b""
        payload = b""
        pieces: list[bytes] | None = None
        at = 0
        end = len(data)
        while at < end:
            if not self._left:
                at = self._read_frame(data, at)
                continue
            count = min(self._left, end - at)
            piece = self._take(data, at, count)
            at += count
            if not payload:
                payload = piece
            elif pieces is None:
                pieces = [payload, piece]
            else:
                pieces.append(piece)
        return payload if pieces is None else b"".join(pieces)

    def _take(self, data: bytes, at: int, count: int) -> bytes:
        """Return bytes of the payload of a binary frame."""
        self._left -= count
        if not self._is_masked:
            return data[at : at + count]
        phase = self._phase
        self._phase = (phase + count) % KEY_SIZE
        return mask(data, at, at + count, self._key, phase)

    def _read_frame(self, data: bytes, at: int) -> int:
        """Read the head of a binary frame, or a whole frame of another type; return its end."""
        if len(data) - at < _HEAD:
            return self._hold(data, at)
        first = data[at]
        second = data[at + 1]
        opcode = first & 0x0F
        length = second & ~MASKED
        if first & RESERVED:
            return self._break_off(data, PROTOCOL_ERROR, "a reserved bit is set")
        if second & MASKED != (MASKED if self._is_masked else 0):
            text = "a frame is not masked" if self._is_masked else "a frame is masked"
            return self._break_off(data, PROTOCOL_ERROR, text)
        if opcode in (CLOSE, PING, PONG):
            if not first & FIN or length > MAX_CONTROL:
                return self._break_off(data, PROTOCOL_ERROR, "a control frame is cut or too long")
            return self._read_short(data, at, opcode, length)
        rule = self._broken_rule(opcode)
        if rule:
            return self._break_off(data, PROTOCOL_ERROR, rule)
        if opcode == TEXT:
            if not self._has_half_close or not first & FIN or length != len(END_OF_HALF):
                return self._break_off(data, UNSUPPORTED_DATA, "a text message is no half-close")
            return self._read_short(data, at, opcode, length)
        return self._begin_binary(data, at, first & FIN != 0, length)

    def _broken_rule(self, opcode: int) -> str:
        """Return the rule that a data frame breaks here, or "" (section 5.4)."""
        if opcode == CONTINUATION:
            return "" if self._is_fragmented else "a continuation without a message"
        if opcode not in (TEXT, BINARY):
            return "an unknown opcode"
        if self._is_fragmented:
            return "a new message within another"
        return "a message after the half-close" if self._has_ended else ""

    def _begin_binary(self, data: bytes, at: int, is_last: bool, length: int) -> int:
        """Read the length and the key of a binary frame (section 5.2); return where they end."""
        size = _HEAD
        if length >= LENGTH_16:
            size = _HEAD_16 if length == LENGTH_16 else _HEAD_64
            if len(data) - at < size:
                return self._hold(data, at)
            shortest = LENGTH_16 if length == LENGTH_16 else _MIN_LENGTH_64
            length = int.from_bytes(data[at + _HEAD : at + size], "big")
            if length < shortest or length >= 1 << 63:
                return self._break_off(data, PROTOCOL_ERROR, "a length is not the shortest form")
            if length > MAX_FRAME:
                return self._break_off(data, TOO_BIG, "a frame is larger than 16 MiB")
        start = at + size + (KEY_SIZE if self._is_masked else 0)
        if len(data) < start:
            return self._hold(data, at)
        self._key = data[at + size : start]
        self._phase = 0
        self._left = length
        self._is_fragmented = not is_last
        return start

    def _read_short(self, data: bytes, at: int, opcode: int, length: int) -> int:
        """Read a control frame or a half-close as a whole; return its end."""
        start = at + _HEAD + (KEY_SIZE if self._is_masked else 0)
        end = start + length
        if len(data) < end:
            return self._hold(data, at)
        payload = data[start:end]
        if self._is_masked:
            payload = mask(payload, 0, length, data[start - KEY_SIZE : start], 0)
        if opcode == PING:
            self.ping = payload
            self.news |= PINGED
        elif opcode == PONG:
            self.news |= PONGED
        elif opcode == CLOSE:
            return self._close(data, payload)
        elif payload != END_OF_HALF:
            return self._break_off(data, UNSUPPORTED_DATA, "a text message is no half-close")
        else:
            self._has_ended = True
            self.news |= ENDED
        return end

    def _close(self, data: bytes, payload: bytes) -> int:
        """Take a Close frame (section 5.5.1), behind which nothing counts."""
        if len(payload) == 1:
            return self._break_off(data, PROTOCOL_ERROR, "a Close frame with half a code")
        code = int.from_bytes(payload[:2], "big") if payload else NO_STATUS
        if payload and not may_be_sent(code):
            return self._break_off(data, PROTOCOL_ERROR, "a Close frame with an invalid code")
        try:
            self.reason = payload[2:].decode("utf-8")
        except UnicodeDecodeError:
            return self._break_off(data, INVALID_PAYLOAD, "a reason that is not UTF-8")
        self.code = code
        self.news |= CLOSED
        self._is_over = True
        return len(data)

    def _hold(self, data: bytes, at: int) -> int:
        """Keep the begin of a frame until more of it comes."""
        self._held = data[at:]
        return len(data)

    def _break_off(self, data: bytes, code: int, reason: str) -> int:
        """Note that a rule was broken; nothing counts that follows."""
        self.code = code
        self.reason = reason
        self.news |= BROKEN
        self._is_over = True
        return len(data)
