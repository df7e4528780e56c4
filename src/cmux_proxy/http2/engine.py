"""What all HTTP/2 connections of a worker share; nothing in it belongs to one of them."""

from cmux_proxy.http2.field_memory import FieldMemory
from cmux_proxy.http2.frame_types import (
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    PREFACE,
)
from cmux_proxy.http2.frame_writer import settings_frame, window_update_frame
from cmux_proxy.http2.http2_limits import Http2Limits
from cmux_proxy.http2.line_memory import LineMemory
from cmux_proxy.http2.request_composer import RequestComposer
from cmux_proxy.http2.response_composer import ResponseComposer


class Engine:
    """The limits, what composes heads, what remembers fields and lines, and what is sent first."""

    __slots__ = (
        "client_greeting", "composer", "fields", "greeting", "limits", "lines", "responses",
    )  # fmt: skip

    def __init__(self, limits: Http2Limits) -> None:
        self.limits = limits
        self.composer = RequestComposer()
        self.fields = FieldMemory()
        self.lines = LineMemory()
        self.greeting = _greeting(limits)
        self.responses = ResponseComposer()
        self.client_greeting = PREFACE + _client_greeting(limits)


def _greeting(limits: Http2Limits) -> bytes:
    """Return SETTINGS, and what the connection's window has more than its default."""
    settings = {
        MAX_CONCURRENT_STREAMS: limits.streams,
        MAX_HEADER_LIST_SIZE: limits.head.start_line + limits.head.section,
        # RFC 8441 section 3: a client may use it only after this.
        ENABLE_CONNECT_PROTOCOL: 1,
    }
    return _with_windows(settings, limits)


def _client_greeting(limits: Http2Limits) -> bytes:
    """Return the SETTINGS of a client, which wants no pushes (RFC 9113 section 8.4)."""
    settings = {
        ENABLE_PUSH: 0,
        MAX_HEADER_LIST_SIZE: limits.head.start_line + limits.head.section,
    }
    return _with_windows(settings, limits)


def _with_windows(settings: dict[int, int], limits: Http2Limits) -> bytes:
    if limits.stream_window != DEFAULT_WINDOW:
        settings[INITIAL_WINDOW_SIZE] = limits.stream_window
    greeting = settings_frame(settings)
    if limits.connection_window > DEFAULT_WINDOW:
        greeting += window_update_frame(0, limits.connection_window - DEFAULT_WINDOW)
    return greeting
