"""The last request of a connection whose header block changed no table.

As long as none changes, the same block means the same request: programs poll, and call the same
method again and again, and then each block has a few bytes. Neighbour: `request_streams.py`.
"""


class LastRequest:
    """What became of `block` while the decoder had made so many `changes` of its table."""

    __slots__ = (
        "_block", "_changes", "_is_last", "content_length", "head", "is_grpc", "is_tunnel",
        "protocol",
    )  # fmt: skip

    def __init__(self) -> None:
        self._block = b""
        self._changes = -1
        self._is_last = False
        self.head = b""
        self.content_length = 0
        self.is_grpc = False
        self.is_tunnel = False
        self.protocol = b""

    def begin(self, block: bytes, changes: int, is_last: bool) -> None:
        """Replace the request; the caller sets the rest."""
        self._block = block
        self._changes = changes
        self._is_last = is_last

    def is_same(self, block: bytes, changes: int, is_last: bool) -> bool:
        """Return whether a block means this request again."""
        return changes == self._changes and is_last == self._is_last and block == self._block
