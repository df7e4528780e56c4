"""The response half of an exchange: from the upstream's bytes to what the client gets.

Interim responses pass, the final head leaves with the first bytes of its body in one write, the
rest of the body follows as it arrives. What an end means for the request and for the connections
is not known here: `exchange.py` decides that.
"""

from typing import Final

from cmux_proxy.http1.body import Body, LengthBody
from cmux_proxy.http1.framing import response_framing
from cmux_proxy.http1.head import CLOSE, ResponseHead
from cmux_proxy.http1.keep_alive import client_keeps_alive, upstream_keeps_alive
from cmux_proxy.http1.response_body import response_body
from cmux_proxy.http1.response_coding import KEEP, UNWRAP, WRAP, choose_coding, coding_field_lines
from cmux_proxy.http1.serialize import encode_chunk, serialize_response
from cmux_proxy.net import splice
from cmux_proxy.relay import body_transfer
from cmux_proxy.relay.accounting import ExchangeLog
from cmux_proxy.relay.state import REQUEST_DONE, RESPONSE_BODY

# Up to so many bytes, a copy costs less than to send from two places.
_MOST_COPIED: Final = 8192
# As large as an interim head may be to be found without a copy of what follows.
_SMALL_HEAD: Final = 1024


class ResponseStream(ExchangeLog):
    """What an exchange does with the bytes of its upstream's answer."""

    __slots__ = ()

    def _receive(self, data: bytes) -> None:
        """Forward interim responses; begin the final one once its head is complete."""
        start = 0
        while True:
            scanned = data[start : start + _SMALL_HEAD] if start else data
            head = self._interim_in(scanned) if start else None
            if head is None:
                if start:
                    scanned = data = data[start:]
                    start = 0
                head = self._context.response_scanner.scan(data, self._searched)
            if head is None:
                self._held = data
                self._searched = len(data)
                return
            self._searched = 0
            self._held = b""
            if head.status >= 200:
                self._begin_response(head)
                return
            if head.status == 101:
                response_framing(head, self._request.method)
                self._grant_switch(head)
                return
            self._pass_interim(head)
            # What follows the head is the same in both, also where the head was normalized.
            start += len(scanned) - len(head.buffer) + head.end
            if start == len(data):
                return

    def _interim_in(self, scanned: bytes) -> ResponseHead | None:
        """Return the small interim head that a piece begins with, None for anything else.

        Of many in one read, each would else take a copy of all that follows it.
        """
        if len(scanned) < _SMALL_HEAD:
            return None
        head = self._context.response_scanner.scan(scanned, 0)
        return head if head is not None and head.status < 200 and head.status != 101 else None

    def _pass_interim(self, head: ResponseHead) -> None:
        self._outgoing = b""
        self._sent += head.end
        if head.status == 100:
            self._awaiting_continue = False
        if head.fields.connection & CLOSE:
            # So the scanner marks a head that it had to normalize.
            self._upstream_persists = False
        # RFC 9110 section 15.2: HTTP/1.0 does not know interim responses.
        if self._request.minor:
            self._client.transport.write(serialize_response(head, b"", False, b""))

    def _begin_response(self, head: ResponseHead) -> None:
        """Send the head with what came of the body, in one write."""
        request = self._request
        framing = response_framing(head, request.method)
        observer = self._context.observer
        if observer is not None and observer.wants_all:
            self._first_byte = observer.clock()
        self._status = head.status
        self._sent += len(head.buffer)
        # RFC 9110 section 10.1.1: whether a body follows that nobody gave leave for, client and
        # upstream may see differently, so that nothing else may follow.
        if self._awaiting_continue or not upstream_keeps_alive(head, framing):
            self._upstream_persists = False
        may_persist = (
            (self._upstream_persists or self._request_side == REQUEST_DONE)
            and client_keeps_alive(request)
            and not self._context.is_draining
        )
        how = self._how = choose_coding(
            request, framing, head.fields.transfer_encoding is not None, may_persist
        )
        unwrap = how & UNWRAP != 0
        added = b"" if how == KEEP and request.minor else coding_field_lines(request, how)
        body: Body | None = None
        arrived = len(head.buffer) - head.end
        if framing >= 0 and arrived <= framing:
            if arrived < framing:
                body = LengthBody(framing - arrived)
            self._response_side = RESPONSE_BODY
            self._send_with_rest(serialize_response(head, added, unwrap, b""), head, arrived)
        else:
            body = response_body(framing, self._context.chunk_rules, unwrap)
            tail = body.feed(head.buffer, head.end)
            if how & WRAP and tail:
                tail = encode_chunk(tail)
            if body.is_done:
                self._end_body(body)
                body = None
            self._response_side = RESPONSE_BODY
            self._client.transport.write(serialize_response(head, added, unwrap, tail))
        if body is None:
            if self._request_side == REQUEST_DONE:
                # All ends here and now, so that the clock need not be asked again.
                self._ended = self._first_byte
            self._response_done()
        else:
            self._response_body = body
            if self._request_side == REQUEST_DONE:
                self._patience = self._context.response_idle
            self._expect_progress()

    def _send_with_rest(self, start: bytes, head: ResponseHead, arrived: int) -> None:
        """Send the head with all that came behind it."""
        transport = self._client.transport
        if arrived > _MOST_COPIED:
            transport.writelines([start, memoryview(head.buffer)[head.end :]])
        elif arrived:
            transport.write(start + head.buffer[head.end :])
        else:
            transport.write(start)

    def _relay(self, data: bytes) -> None:
        body = self._response_body
        if body is None:
            return
        out = body.feed(data, 0)
        self._sent += len(data)
        self._expect_progress()
        if out:
            self._client.transport.write(encode_chunk(out) if self._how & WRAP else out)
        if body.is_done:
            self._end_body(body)
            self._response_done()
        elif len(data) >= splice.MIN_READ and self._upstream is not None:
            upstream = self._upstream.transport
            conduit = self._context.conduit
            if self._how & WRAP:
                splice.limit_reads(conduit, upstream, self._client.transport)
            else:
                body_transfer.start_transfer(
                    conduit, upstream, self._client.transport, body, self._note_sent, len(data)
                )

    def _end_body(self, body: Body) -> None:
        # RFC 9112 section 9.2: bytes that nobody asked for spoil the connection, not the response.
        if body.trailing_data or body.is_normalized:
            self._upstream_persists = False
