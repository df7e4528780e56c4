"""The one exception of this room."""


class BadMessage(Exception):
    """A peer sent bytes that are not one unambiguous HTTP/1 message.

    `reason` is one lower-case clause for the peer; `status` is what a server would answer
    (RFC 9110 section 15): a proxy answers 502 instead when the peer was the upstream.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
