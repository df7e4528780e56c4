"""How an exchange sends a response to its client, whatever protocol the client speaks.

`downstream/http1_response_writer.py` implements it for HTTP/1.
"""

from typing import Final

from cmux_proxy.http1.head import ResponseHead
from cmux_proxy.http1.local_reply import Content
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.failures import Failure


class ResponseWriter:
    """Sends one response at a time to the client's `stream`."""

    __slots__ = ("stream",)

    stream: Stream

    def inform(self, head: ResponseHead) -> None:
        """Send an interim response, if the client's version knows them."""
        raise NotImplementedError

    def choose_coding(self, framing: int, is_coded: bool, may_persist: bool) -> None:
        """Choose how a response with that framing is sent; `is_coded`: it has Transfer-Encoding.

        `may_persist` says whether everything but the framing allows another exchange.
        """
        raise NotImplementedError

    def wants_decoded_body(self) -> bool:
        """Return whether body bytes are to come without their chunked coding."""
        raise NotImplementedError

    def start(self, head: ResponseHead, tail: bytes) -> None:
        """Send the head and the first bytes of the body, in one write."""
        raise NotImplementedError

    def start_with_rest(self, head: ResponseHead, is_whole: bool) -> None:
        """Send the head and all bytes that arrived behind it, which are the body's.

        `is_whole` says that no more of the body is to come.
        """
        raise NotImplementedError

    def write_body(self, data: bytes) -> None:
        """Send bytes of the body; not empty."""
        raise NotImplementedError

    def write_trailers(self, lines: bytes) -> None:
        """End the response with trailers, where body bytes are wanted without their coding."""
        raise NotImplementedError

    def may_splice(self) -> bool:
        """Return whether body bytes reach the client as they come from the upstream."""
        raise NotImplementedError

    def finish_body(self) -> None:
        """Mark the end of a body that ended with the upstream's connection."""
        raise NotImplementedError

    def send_reply(
        self, failure: Failure, content: Content, date: bytes, with_body: bool, keep: bool
    ) -> None:
        """Send the proxy's own response, with this content; `date` is an IMF-fixdate.

        `with_body` is False in a response to HEAD. `keep` says that another exchange may follow.
        """
        raise NotImplementedError


# The writer of an exchange that serves no request.
NO_WRITER: Final = ResponseWriter()
