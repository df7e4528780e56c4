"""What the owner of a connection to an upstream is called with, besides what clients do too.

`upstream/` implements it. All calls come from within a call of `ClientConnection`.
"""

from mypy_extensions import mypyc_attr

from cmux_proxy.http2.handler import ConnectionHandler
from cmux_proxy.http2.http2_stream import Http2Stream


@mypyc_attr(allow_interpreted_subclasses=True)
class ResponseHandler(ConnectionHandler):
    """Takes what the upstream does; it opens no streams, so that there are no requests."""

    __slots__ = ()

    def on_response(self, stream: Http2Stream, head: bytes, is_chunked: bool) -> None:
        """A response has come, interim or final; `head` is that of HTTP/1.1.

        With `is_chunked` the head says that the body has the chunked coding, which it has not.
        No body follows if `stream.has_request_ended()`, which is the end of the peer's side.
        """
        raise NotImplementedError
