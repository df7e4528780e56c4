"""What an exchange knows of its client's connection, whatever protocol the client speaks.

`downstream/http1_connection.py` implements it for HTTP/1.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.net.asyncio_backend import scheme
from cmux_proxy.net.flow_control import PIPELINE_FULL, ReadControl
from cmux_proxy.net.peer import peer_of
from cmux_proxy.net.stream import Stream
from cmux_proxy.net.timers import Timed, Unread
from cmux_proxy.observe.record import HTTP_1_0, HTTP_1_1
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.response_writer import NO_WRITER, ResponseWriter

# With no more pipelined bytes than this the client is still read, so that the end of its connection
# is noticed. Together with one read, what is held stays within `limits.buffer`.
PIPELINE_LIMIT: Final = 4096


class Downstream(Timed):
    """A client's connection as its exchange sees it.

    `transport` is its stream, `writer` sends its responses, `reading` stops and resumes reading its
    requests.
    """

    __slots__ = ("_address", "has_ended", "pipelined", "reading", "transport", "writer")

    def __init__(self, writer: ResponseWriter) -> None:
        super().__init__()
        self.transport: Stream
        self.writer = writer
        self.reading = ReadControl()
        # Bytes behind the request in progress, or of a head that is not complete.
        self.pipelined = b""
        self.has_ended = False
        # Kept for the requests that follow, because finding it costs much of a line of the log.
        self._address = ""

    def attach(self, stream: Stream) -> None:
        """Take the client's stream."""
        self.transport = stream
        self.writer.stream = stream
        self.reading.stream = stream

    def abort(self) -> None:
        """Abort the connection, and with it the upstream's."""
        self.transport.abort()

    def add_unread(self, unread: list[Unread]) -> None:
        """Add it while it is not read: a client that has left unnoticed is aborted."""
        if self.reading.is_stopped():
            unread.append(Unread(self.transport, self.abort))

    def keep_pipelined(self, data: bytes) -> None:
        """Keep bytes until their turn comes; stop reading when they exceed the limit."""
        self.pipelined = data
        if len(data) > PIPELINE_LIMIT:
            self.reading.stop(PIPELINE_FULL)

    def address(self) -> str:
        """Return the client's address, as `peer_of` names it."""
        if not self._address:
            self._address = peer_of(self.transport)
        return self._address

    def protocol(self, minor: int) -> str:
        """Return the name of its protocol, where a request has this version of HTTP/1.

        It is -1 where no request was read, and the name then empty unless it is known all the same.
        """
        if minor < 0:
            return ""
        return HTTP_1_1 if minor else HTTP_1_0

    def scheme(self) -> bytes:
        """Return the scheme of URIs that the client reaches so."""
        return scheme(self.transport).encode("ascii")

    def request_body_wanted(self) -> None:
        """Pass the body bytes that arrived before the upstream's connection to the exchange."""
        raise NotImplementedError

    def exchange_done(self) -> None:
        """Serve the next request, or close: the exchange is complete."""
        raise NotImplementedError

    def linger(self) -> None:
        """Close, but let the client read what it was sent: the exchange is over."""
        raise NotImplementedError

    def abort_response(self, ends_with_connection: bool) -> None:
        """Close so that the client cannot take the response for complete.

        `ends_with_connection` says that the upstream delimits the body by its close.
        """
        raise NotImplementedError

    def accept_tunnel(self, response: bytes) -> bytes:
        """Return what the tunnel sends first: the HTTP/1.1 response that opens it.

        Another protocol sends it itself, and returns nothing.
        """
        return response

    def detach(self) -> Stream:
        """Give the stream up to a tunnel, and return it."""
        raise NotImplementedError


# The client of an exchange that serves none.
NO_CLIENT: Final = Downstream(NO_WRITER)


@mypyc_attr(allow_interpreted_subclasses=True)
class AdmissionControl:
    """Decides which clients may connect; `downstream/admission.py` implements it."""

    __slots__ = ()

    def enter(self, stream: Stream) -> Failure | None:
        """Admit a connection, or return the failure to answer it with."""
        raise NotImplementedError

    def enter_stream(self, address: str) -> Failure | None:
        """Admit a request on a stream, or return the failure to answer it with."""
        raise NotImplementedError

    def leave_stream(self, address: str) -> None:
        """Forget a request that was admitted."""
        raise NotImplementedError

    def is_crowded(self) -> bool:
        """Return whether too many refused clients are still there to be answered."""
        raise NotImplementedError

    def leave(self, stream: Stream) -> None:
        """Forget a connection that is gone; idempotent."""
        raise NotImplementedError
