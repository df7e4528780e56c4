"""What the frames of a connection are passed to; `server_connection.py` implements it."""

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class FrameHandler:
    """Takes frames that are well-formed on their own, in order.

    Whether a stream may have such a frame now is for the handler. It raises ConnectionFault.
    """

    __slots__ = ()

    def on_data_frame(self, stream_id: int, data: bytes, size: int, is_last: bool) -> None:
        """Take content; `size` is what windows count, with padding (RFC 9113 section 6.1)."""
        raise NotImplementedError

    def on_header_block(self, stream_id: int, block: bytes, is_last: bool) -> None:
        """Take a whole header block (section 6.2)."""
        raise NotImplementedError

    def on_reset_frame(self, stream_id: int, code: int) -> None:
        """Take a RST_STREAM frame (section 6.4)."""
        raise NotImplementedError

    def on_settings_frame(self, payload: bytes) -> None:
        """Take a SETTINGS frame that is to be acknowledged (section 6.5)."""
        raise NotImplementedError

    def on_ping_frame(self, payload: bytes, is_ack: bool) -> None:
        """Take a PING frame (section 6.7)."""
        raise NotImplementedError

    def on_goaway_frame(self, last_stream_id: int, code: int) -> None:
        """Take a GOAWAY frame (section 6.8)."""
        raise NotImplementedError

    def on_window_update(self, stream_id: int, increment: int) -> None:
        """Take a WINDOW_UPDATE frame; the increment is not 0 (section 6.9)."""
        raise NotImplementedError

    def on_frame_fault(self, stream_id: int, code: int, rule: str) -> None:
        """A frame breaks a rule that ends its stream only."""
        raise NotImplementedError
