"""The response half of an exchange: from the upstream's bytes to what the client is sent.

Interim responses are forwarded, the final head is sent with the first bytes of its body in one
write, the rest of the body follows as it arrives. Does not know what the end of the response means
for the request and for either connection: `exchange.py` does.
"""

from typing import Final

from cmux_proxy.http1.body import Body, LengthBody
from cmux_proxy.http1.framing import response_framing
from cmux_proxy.http1.head import CLOSE, ResponseHead
from cmux_proxy.http1.keep_alive import upstream_keeps_alive
from cmux_proxy.http1.response_body import feed_rest, response_body
from cmux_proxy.net import splice
from cmux_proxy.net.splice import CountMoved
from cmux_proxy.net.stream import Stream
from cmux_proxy.relay import body_transfer
from cmux_proxy.relay.request import RequestStream
from cmux_proxy.relay.response_writer import NO_WRITER, ResponseWriter
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.state import AWAITING_HEAD, REQUEST_DONE, RESPONSE_BODY, UPGRADE

# What `receive` and `feed` report.
INCOMPLETE: Final = 0  # more bytes are needed
HEAD_SENT: Final = 1  # the final head has been sent, and more of the body is to come
COMPLETE: Final = 2  # the last byte has been sent
SWITCHED: Final = 3  # the upstream has answered 101; `switch` is its head

# An interim head up to this size is found without a copy of the bytes behind it.
_SMALL_HEAD: Final = 1024


class ResponseStream:
    """An upstream's response on its way to the client, one after another.

    `upstream_persists` says whether the upstream's connection may carry another request. `sent`
    counts the upstream's bytes, `status` is that of the final head. `held` is a head that is not
    complete.
    """

    __slots__ = (
        "_request_stream",
        "_searched",
        "_services",
        "_writer",
        "body",
        "held",
        "sent",
        "state",
        "status",
        "switch",
        "upstream_persists",
    )

    def __init__(self, services: Services, request_stream: RequestStream) -> None:
        self._services = services
        self._writer = NO_WRITER
        self._request_stream = request_stream
        self.state = AWAITING_HEAD
        self.body: Body | None = None
        self.held = b""
        # How many bytes of `held` were searched for its end.
        self._searched = 0
        self.upstream_persists = True
        self.status = 0
        self.sent = 0
        self.switch: ResponseHead | None = None

    def begin(self, writer: ResponseWriter) -> None:
        """Wait for the response to a request, which this writer sends."""
        self._writer = writer
        self.state = AWAITING_HEAD
        self._searched = 0
        self.upstream_persists = True
        self.status = 0
        self.sent = 0

    def clear(self) -> None:
        """Release the response: it has ended."""
        self._writer = NO_WRITER
        self.held = b""
        self.switch = None

    def receive(self, data: bytes) -> int:
        """Take bytes of heads, behind those `held`; raise BadMessage for a malformed response."""
        start = 0
        if len(self.held) > 0:
            data = self.held + data
        while True:
            scanned = data[start : start + _SMALL_HEAD] if start else data
            head = self._interim_head(scanned) if start else None
            if head is None:
                if start:
                    scanned = data = data[start:]
                    start = 0
                head = self._services.response_scanner.scan(data, self._searched)
            if head is None:
                self.held = data
                self._searched = len(data)
                return INCOMPLETE
            self._searched = 0
            self.held = b""
            if head.status >= 200:
                return self._start(head)
            if head.status == 101:
                response_framing(head, self._request_stream.request.method)
                self.switch = head
                return SWITCHED
            self._forward_interim(head)
            # The bytes behind the head are the same in both, also where the head was normalized.
            start += len(scanned) - head.rest_size()
            if start == len(data):
                return INCOMPLETE

    def _interim_head(self, scanned: bytes) -> ResponseHead | None:
        """Return the small interim head that these bytes begin with, None for anything else.

        Otherwise each of many in one read would take a copy of everything behind it.
        """
        if len(scanned) < _SMALL_HEAD:
            return None
        head = self._services.response_scanner.scan(scanned, 0)
        return head if head is not None and head.status < 200 and head.status != 101 else None

    def _forward_interim(self, head: ResponseHead) -> None:
        self._request_stream.outgoing = b""
        self.sent += head.end
        if head.status == 100:
            self._request_stream.request.expects_continue = False
        if head.connection & CLOSE:
            # The scanner marks a head that it had to normalize like this.
            self.upstream_persists = False
        self._writer.inform(head)

    def _start(self, head: ResponseHead) -> int:
        """Send the head and the body bytes that came with it, in one write."""
        request_stream = self._request_stream
        request = request_stream.request
        framing = response_framing(head, request.method)
        if request.mode == UPGRADE:
            request.check_refusal(head)
        self.status = head.status
        rest_size = head.rest_size()
        self.sent += head.end + rest_size
        # RFC 9110 section 10.1.1: client and upstream may differ about whether a body follows that
        # the client had no leave to send, so that nothing else may follow.
        if request.expects_continue or not upstream_keeps_alive(head, framing):
            self.upstream_persists = False
        self._writer.choose_coding(
            framing,
            head.transfer_encoding is not None,
            (self.upstream_persists or request_stream.state == REQUEST_DONE)
            and request.allows_keep_alive()
            and not self._services.registry.is_draining,
        )
        if framing >= 0 and rest_size <= framing:
            self.state = RESPONSE_BODY
            is_whole = rest_size == framing
            self._writer.start_with_rest(head, is_whole)
            if is_whole:
                return COMPLETE
            self.body = LengthBody(framing - rest_size)
            return HEAD_SENT
        return self._start_with_body(head, framing)

    def _start_with_body(self, head: ResponseHead, framing: int) -> int:
        """Send the head of a body whose end is in its bytes, or ends with the connection."""
        writer = self._writer
        body = response_body(framing, self._services.chunk_rules, writer.wants_decoded_body())
        tail = feed_rest(body, head)
        # Not before: a malformed body that arrives with the head is still answered with a 502.
        self.state = RESPONSE_BODY
        writer.start(head, tail)
        if body.is_done:
            self._end_body(body)
            return COMPLETE
        self.body = body
        return HEAD_SENT

    def feed(self, data: bytes) -> int:
        """Forward body bytes; return COMPLETE or HEAD_SENT. Raises BadMessage."""
        body = self.body
        if body is None:
            return HEAD_SENT
        out = body.feed(data, 0)
        self.sent += len(data)
        if out:
            self._writer.write_body(out)
        if body.is_done:
            self._end_body(body)
            return COMPLETE
        return HEAD_SENT

    def start_transfer(self, upstream: Stream, count_moved: CountMoved, count: int) -> None:
        """Let the kernel move what follows of the body; see `splice.start_transfer`."""
        pipe = self._services.splice_pipe
        client = self._writer.stream
        if self.body is not None and self._writer.may_splice():
            body_transfer.start_transfer(pipe, upstream, client, self.body, count_moved, count)
        else:
            splice.limit_reads(pipe, upstream, client)

    def ends_with_connection(self) -> bool:
        """Return whether the upstream delimits the body by closing its connection."""
        return self.body is not None and self.body.ends_with_connection()

    def finish(self) -> None:
        """The upstream has closed its connection, which completes the body."""
        self._writer.finish_body()

    def _end_body(self, body: Body) -> None:
        """Send the trailers, where they are no part of the body's bytes."""
        if len(body.trailers) > 0:
            self._writer.write_trailers(body.trailers)
        # RFC 9112 section 9.2: surplus bytes spoil the connection, not the response.
        if body.trailing_data or body.is_normalized:
            self.upstream_persists = False
