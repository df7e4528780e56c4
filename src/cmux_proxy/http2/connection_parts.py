"""Builds the parts of a connection for either role of its peer: a client, or an upstream.

Does not know what the parts do together: `server_connection.py` does.
"""

from typing import Final

from cmux_proxy.http2.client_frames import ClientFrames
from cmux_proxy.http2.engine import Engine
from cmux_proxy.http2.flood_budget import FloodBudget
from cmux_proxy.http2.frame_reader import FrameReader
from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.hpack_encoder import HpackEncoder
from cmux_proxy.http2.http2_limits import (
    CONTROL_BURST,
    CONTROLS_PER_SECOND,
    RESET_BURST,
    RESETS_PER_SECOND,
)
from cmux_proxy.http2.outgoing_frames import OutgoingFrames
from cmux_proxy.http2.peer_settings import PeerSettings
from cmux_proxy.http2.receive_windows import ReceiveWindows
from cmux_proxy.http2.request_streams import RequestStreams
from cmux_proxy.http2.response_handler import ResponseHandler
from cmux_proxy.http2.response_streams import ResponseStreams
from cmux_proxy.http2.stream_ends import StreamEnds
from cmux_proxy.http2.stream_table import StreamTable

# Those who run an upstream have configured it, and gRPC sends many PINGs: there is no budget.
_UNLIMITED: Final = 1 << 60


class ConnectionParts:
    """The parts of one connection; `greeting` is what is sent first."""

    __slots__ = (
        "encoder", "ends", "frames", "greeting", "outgoing", "reader", "settings", "table",
        "windows",
    )  # fmt: skip

    def __init__(self, engine: Engine, handler: ConnectionHandler, resets: FloodBudget) -> None:
        limits = engine.limits
        self.table = StreamTable()
        self.settings = PeerSettings()
        self.windows = ReceiveWindows(limits.connection_window, limits.stream_window)
        self.encoder = HpackEncoder(engine.lines)
        self.outgoing = OutgoingFrames(self.encoder)
        self.ends = StreamEnds(handler, self.table, self.outgoing, self.windows, resets)
        self.frames: ClientFrames
        self.reader: FrameReader
        self.greeting = b""


def server_parts(engine: Engine, handler: ConnectionHandler) -> ConnectionParts:
    """Return the parts of a connection whose peer is a client."""
    parts = ConnectionParts(engine, handler, FloodBudget(RESET_BURST, RESETS_PER_SECOND))
    blocks = RequestStreams(engine, handler, parts.table, parts.ends, parts.settings)
    parts.frames = ClientFrames(
        blocks, parts.settings, FloodBudget(CONTROL_BURST, CONTROLS_PER_SECOND), handler,
        parts.table, parts.windows, parts.encoder, parts.outgoing, parts.ends,
    )  # fmt: skip
    parts.reader = FrameReader(parts.frames)
    parts.greeting = engine.greeting
    return parts


def client_parts(engine: Engine, handler: ResponseHandler) -> ConnectionParts:
    """Return the parts of a connection whose peer is an upstream."""
    parts = ConnectionParts(engine, handler, FloodBudget(_UNLIMITED, 0))
    blocks = ResponseStreams(engine, handler, parts.table, parts.ends)
    parts.frames = ClientFrames(
        blocks, parts.settings, FloodBudget(_UNLIMITED, 0), handler,
        parts.table, parts.windows, parts.encoder, parts.outgoing, parts.ends,
    )  # fmt: skip
    parts.reader = FrameReader(parts.frames, False)
    parts.greeting = engine.client_greeting
    return parts
