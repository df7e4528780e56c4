"""What whole header blocks are passed to: those of requests, or those of responses."""


class BlockReader:
    """Takes the header blocks of one connection, in order."""

    __slots__ = ()

    def take_block(self, stream_id: int, block: bytes, is_last: bool) -> None:
        """Take a block; every one is decoded, because each may change the table.

        Raises ConnectionFault (RFC 9113 section 4.3).
        """
        raise NotImplementedError
