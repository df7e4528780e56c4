"""Why a stream to an upstream is gone; not compiled, because exceptions are not."""


class StreamLost(ConnectionResetError):
    """The upstream has reset the stream, or the connection is gone.

    `is_unprocessed` says that the upstream has done nothing with the request (RFC 9113 section
    8.7), so that it may be sent again whatever its method. `rule` is the rule that the upstream has
    broken, or empty.
    """

    def __init__(self, is_unprocessed: bool = False, rule: str = "") -> None:
        super().__init__(rule or "the stream was reset")
        self.is_unprocessed = is_unprocessed
        self.rule = rule


def is_unprocessed(error: Exception | None) -> bool:
    """Return whether a connection was lost before the upstream did anything with the request."""
    return isinstance(error, StreamLost) and error.is_unprocessed


def broken_rule(error: Exception | None) -> str:
    """Return the rule of HTTP/2 that the upstream has broken, or nothing."""
    return error.rule if isinstance(error, StreamLost) else ""
