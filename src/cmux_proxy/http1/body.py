"""Which of the bytes that arrive belong to this message's body (RFC 9112 sections 6 and 7.1).

All bodies have one interface: `feed` takes the bytes that arrived and returns those to forward;
once `is_done`, `trailing_data` has the bytes after the body. Bytes are forwarded unchanged, and
without a copy if all of them can be forwarded. Does not know how a framing is chosen
(`framing.py`), nor chunks (`chunked_body.py`).
"""


class Body:
    """A message body whose bytes arrive one read at a time."""

    __slots__ = ("is_done", "is_normalized", "trailers", "trailing_data")

    def __init__(self) -> None:
        self.is_done = False
        # Whether size lines were changed because they do not follow the RFC.
        self.is_normalized = False
        self.trailing_data = b""
        # The lines of the trailers that may be forwarded (RFC 9110 section 6.5).
        self.trailers = b""

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return the bytes to forward. Raises BadMessage."""
        raise NotImplementedError

    def ends_with_connection(self) -> bool:
        """Return whether the end of the connection is the end of this body."""
        return False


class LengthBody(Body):
    """A body of a known number of bytes (Content-Length)."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self.remaining = length
        self.is_done = length == 0

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return the part that belongs to the body."""
        end = start + self.remaining
        if end > len(data):
            self.remaining = end - len(data)
            return data[start:] if start else data
        self.remaining = 0
        self.is_done = True
        if start == 0 and end == len(data):
            # In a compiled build, even a slice of all bytes is a copy.
            return data
        self.trailing_data = data[end:]
        return data[start:end]


class UntilCloseBody(Body):
    """A response body that ends with the connection."""

    __slots__ = ()

    def feed(self, data: bytes, start: int) -> bytes:
        """Take data[start:]; return all of it."""
        return data[start:] if start else data

    def ends_with_connection(self) -> bool:
        """Return True."""
        return True
