"""The limits of HTTP/2 connections: those that are set, and those that are fixed.

Does not know the configuration: the limits are integers.
"""

from typing import Final

from cmux_proxy.http1.head_limits import HeadLimits

# What waits to be sent on one connection, in bytes. Beyond it, a stream whose window is smaller
# than MIN_ROOM is blocked: windows that stay closed would otherwise hold a part of each response.
MAX_PENDING: Final = 1_048_576
MIN_ROOM: Final = 32_767
# Frames that wait to be taken, in bytes; beyond it the client is not read, so that a client which
# does not read cannot make acknowledgements pile up (CVE-2019-9512, CVE-2019-9515).
MAX_UNTAKEN: Final = 65_536
# Resets of streams, by the client (CVE-2023-44487) or provoked by it (CVE-2025-8671). A stricter
# limit breaks the hot reload of browsers, which cancel hundreds of requests.
RESET_BURST: Final = 10_000
RESETS_PER_SECOND: Final = 200
# SETTINGS, PING and empty DATA frames, which bring nothing (CVE-2019-9512, -9515, -9518).
CONTROL_BURST: Final = 1_000
CONTROLS_PER_SECOND: Final = 33
# Streams that the proxy has reset while the client may still have frames of them in flight.
MAX_RESET_STREAMS: Final = 256
# A head that comes again is kept up to this size, on each connection one of either direction.
MAX_KEPT_HEAD: Final = 1024

# A body of up to this size is copied, because a copy costs less than a view and two pieces more.
MAX_JOINED_BODY: Final = 2048


class Http2Limits:
    """What a connection may use.

    `streams` are open at once. `stream_window` is at least 65,535 bytes, and `connection_window` is
    not smaller. `head` has the limits of a request head.
    """

    __slots__ = ("connection_window", "head", "stream_window", "streams")

    def __init__(
        self,
        head: HeadLimits,
        streams: int = 100,
        stream_window: int = 65_535,
        connection_window: int = 1_048_576,
    ) -> None:
        self.head = head
        self.streams = streams
        self.stream_window = stream_window
        self.connection_window = connection_window
