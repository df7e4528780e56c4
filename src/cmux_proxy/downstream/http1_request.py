"""A request of an HTTP/1 client: validated, its body read, and encoded for the upstream.

Does not know where the request goes, nor how it is sent.
"""

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http1.expectation import check_expectation
from cmux_proxy.http1.field_lines import field_values
from cmux_proxy.http1.framing import request_framing
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.http1.keep_alive import client_keeps_alive
from cmux_proxy.http1.request_body import request_body
from cmux_proxy.http1.request_target import (
    ForwardTarget,
    check_authority_form,
    check_host,
    forward_target,
)
from cmux_proxy.http1.serialize import Edits, serialize_changed_request, serialize_request
from cmux_proxy.http1.upgrade import check_upgrade_granted, requests_upgrade
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import PIPELINE_LIMIT
from cmux_proxy.relay.state import CONNECT, FORWARD, UPGRADE
from cmux_proxy.routing.target import Target


@mypyc_attr(acyclic=True, free_list_len=1)
class Http1Request(ClientRequest):
    """A request whose head was scanned, with the body bytes that arrived with the head."""

    __slots__ = ("_new_target", "_tail", "head")

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        # What replaces the target, for a request in absolute form.
        self._new_target: ForwardTarget | None = None
        # The body bytes that arrived with the head.
        self._tail = b""
        self.method = head.method
        self.minor = head.minor
        self.host = head.host
        self.reserved = head.reserved
        self.mode = CONNECT if head.method == b"CONNECT" else FORWARD
        self.body = None
        self.expects_continue = False
        self.received = head.end

    def validate(self, chunk_rules: ChunkRules) -> bytes:
        """Validate the request; return the bytes behind it. Raises BadMessage."""
        head = self.head
        if self.mode == CONNECT:
            check_host(head)
            check_authority_form(head)
            check_expectation(head)
            return self._cut_rest()
        framing = request_framing(head)
        check_host(head)
        new_target = forward_target(head)
        check_expectation(head)
        if new_target is not None:
            self._new_target = new_target
            self.host = new_target.authority
        if head.upgrade is not None and requests_upgrade(head):
            self.mode = UPGRADE
        return self._cut_rest() if framing == 0 else self._start_body(framing, chunk_rules)

    def _cut_rest(self) -> bytes:
        """Return the bytes behind a request without a body."""
        head = self.head
        if head.end == len(head.buffer):
            return b""
        rest = head.buffer[head.end :]
        head.buffer = head.buffer[: head.end]
        return rest

    def _start_body(self, framing: int, chunk_rules: ChunkRules) -> bytes:
        """Read the body bytes that arrived with the head; return those behind the body."""
        head = self.head
        buffer = head.buffer
        self.expects_continue = head.expect is not None
        body = self.body = request_body(framing, chunk_rules)
        self._tail = body.feed(buffer, head.end)
        self.received = len(buffer) - len(body.trailing_data)
        if len(buffer) > PIPELINE_LIMIT:
            # Otherwise much of it would be held twice.
            head.buffer = buffer[: head.end]
        return body.trailing_data

    def request_line(self) -> bytes:
        """Return bytes that begin with the request line."""
        return self.head.buffer

    def request_target(self) -> bytes:
        """Return the target of the request line."""
        return self.head.target

    def path(self) -> bytes:
        """Return the target in origin form, or "*"."""
        return self.head.target if self._new_target is None else self._new_target.path

    def is_complete(self) -> bool:
        """Return whether its last byte has arrived."""
        return self.body is None or self.body.is_done

    def encode_http1(self, target: Target, edits: Edits | None) -> bytes:
        """Return the head without the fields that are cut, and the first body bytes."""
        head = self.head
        tail = self._tail
        if len(tail) > 0:
            self._tail = b""
        new_target = self._new_target
        if new_target is None and head.minor and self.mode == FORWARD and edits is None:
            return serialize_request(head, tail)
        host = target.authority().encode("ascii") if head.host is None else b""
        is_upgrade = self.mode == UPGRADE
        return serialize_changed_request(head, new_target, is_upgrade, host, tail, edits)

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all field lines of that lower-case name."""
        return field_values(self.head.section(), name)

    def forwarded_values(self, name: bytes) -> list[bytes]:
        """Return those that are sent on (RFC 9110 section 7.6.1)."""
        return [] if name in self.head.spans().nominated else self.values(name)

    def allows_keep_alive(self) -> bool:
        """Return whether the connection may persist (RFC 9112 section 9.3)."""
        return client_keeps_alive(self.head)

    def check_switch(self, response: ResponseHead) -> None:
        """Raise BadMessage unless this 101 grants what the request asked for."""
        check_upgrade_granted(self.head, response, self.mode == UPGRADE)
