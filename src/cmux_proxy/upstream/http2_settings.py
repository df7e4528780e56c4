"""What the HTTP/2 connections of a worker to its upstreams share. Does not know connections."""

from typing import TYPE_CHECKING

from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http1.head_limits import HeadLimits

if TYPE_CHECKING:
    from cmux_proxy.http2.engine import Engine


class Http2Settings:
    """The rules for chunks, and the engine; heads of responses are limited by `head_limits`."""

    __slots__ = ("_engine", "_head_limits", "chunk_rules")

    def __init__(self, head_limits: HeadLimits, chunk_rules: ChunkRules) -> None:
        self._head_limits = head_limits
        self.chunk_rules = chunk_rules
        self._engine: Engine | None = None

    def engine(self) -> "Engine":
        """Return what remembers fields and lines; made for the first connection."""
        if self._engine is None:
            from cmux_proxy.http2.engine import Engine
            from cmux_proxy.http2.http2_limits import Http2Limits

            self._engine = Engine(Http2Limits(self._head_limits))
        return self._engine
