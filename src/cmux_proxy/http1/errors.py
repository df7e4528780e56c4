"""The one exception that this package raises for bytes it refuses."""


class BadMessage(Exception):
    """A peer sent bytes that are not one unambiguous HTTP/1 message.

    `reason` is one lower-case clause for the peer. `status` is the status of the response to a
    request (RFC 9110 section 15); if the peer was the upstream, the proxy responds with 502.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
