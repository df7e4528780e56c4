"""The client of a tunnel inside a WebSocket: its request, its frames, and those that it gets."""

from typing import Final

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from tests.helpers.script import head

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
V1: Final = "cmux-tcp.v1"
END: Final = Frame(Opcode.TEXT, b"F")


def request(target: str, *fields: str, host: str = "a") -> bytes:
    """Return a request for a WebSocket."""
    return head(
        f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
        f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", *fields,
    )  # fmt: skip


def opened(subprotocol: str = "") -> bytes:
    """Return the response that opens a tunnel."""
    chosen = [f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []
    return head(
        "HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
        f"Sec-WebSocket-Accept: {ACCEPT}", *chosen,
    )  # fmt: skip


def offer(*subprotocols: str) -> str:
    """Return the field that offers subprotocols."""
    return "Sec-WebSocket-Protocol: " + ", ".join(subprotocols)


def masked(*frames: Frame) -> bytes:
    """Return the bytes of frames as a client sends them."""
    return b"".join(frame.serialize(mask=True) for frame in frames)


def binary(payload: bytes) -> bytes:
    """Return the bytes of a binary message of a client."""
    return masked(Frame(Opcode.BINARY, payload))


def closing(code: int | None = 1000, reason: str = "") -> Frame:
    """Return a Close frame."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
    return Frame(Opcode.CLOSE, payload)


class FrameParser:
    """Splits what a client gets into frames."""

    def __init__(self) -> None:
        self._stream = StreamReader()
        self._parser = Frame.parse(self._stream.read_exact, mask=False)
        next(self._parser)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames that are whole with them."""
        self._stream.feed_data(data)
        frames: list[Frame] = []
        while True:
            try:
                next(self._parser)
            except StopIteration as done:
                frames.append(done.value)
                self._parser = Frame.parse(self._stream.read_exact, mask=False)
            else:
                return frames


def frames_of(data: bytes) -> list[Frame]:
    """Return the frames in these bytes, which are whole."""
    parser = FrameParser()
    frames = parser.feed(data)
    assert b"".join(frame.serialize(mask=False) for frame in frames) == data, "half a frame"
    return frames
