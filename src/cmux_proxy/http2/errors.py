"""What is raised for bytes of a peer that break a rule of HTTP/2 or HPACK.

Does not know what is sent to the peer: `server_connection.py` does.
"""


class Http2Error(Exception):
    """A peer broke a rule; `code` is the error code to send, `rule` one lower-case clause for it.

    RFC 9113 section 5.4 has the two ways to end: with the connection, or with one stream.
    """

    def __init__(self, code: int, rule: str) -> None:
        super().__init__(rule)
        self.code = code
        self.rule = rule


class ConnectionFault(Http2Error):
    """The connection ends with a GOAWAY (RFC 9113 section 5.4.1)."""


class StreamFault(Http2Error):
    """One stream ends with a RST_STREAM (RFC 9113 section 5.4.2)."""
