"""Passes a whole message through http1 and routing, without I/O: the bytes to send, or a refusal.

The steps and their order are those of an exchange; the message can be split in any way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cmux_proxy.http1.body import Body
from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http1.expectation import check_expectation
from cmux_proxy.http1.framing import request_framing, response_framing
from cmux_proxy.http1.head import MAX_JOINED, RequestHead, ResponseHead
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.keep_alive import client_keeps_alive, upstream_keeps_alive
from cmux_proxy.http1.request_body import request_body
from cmux_proxy.http1.request_target import (
    check_authority_form,
    check_host,
    forward_target,
)
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.response_body import response_body
from cmux_proxy.http1.response_coding import UNWRAP, choose_coding, coding_field_lines
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.http1.serialize import (
    serialize_changed_request,
    serialize_request,
    serialize_response,
    serialize_whole_response,
)
from cmux_proxy.http1.upgrade import check_upgrade_granted, requests_upgrade
from cmux_proxy.relay.request_options import OPTION_NAMES, TOKEN_FIELD
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX, Router
from tests.helpers.feeding import feed_pieces, scan_pieces

REQUESTS = RequestScanner(
    HeadLimits(16384, 65536, 256),
    ReservedFields(RESERVED_PREFIX, RESERVED_SUFFIX, OPTION_NAMES, (TOKEN_FIELD,)),
)
RESPONSES = ResponseScanner(HeadLimits(131072, 131072, 131072))
CHUNKS = ChunkRules(16384, 16384, 16384, RESERVED_PREFIX)


@dataclass(frozen=True)
class JudgedRequest:
    """The result of a request: `forwarded` is sent to `port`, `trailing_data` follows it."""

    head: RequestHead = field(compare=False, repr=False)
    framing: int
    upgrade: bool
    keeps_alive: bool
    port: int
    forwarded: bytes
    is_complete: bool
    trailing_data: bytes


@dataclass(frozen=True)
class JudgedResponse:
    """The result of a response: `head` and `body` for the client (without new chunks)."""

    status: int
    framing: int
    keeps_alive: bool
    coding: int
    head: bytes
    body: bytes
    is_complete: bool
    trailing_data: bytes


def request_head(data: bytes) -> RequestHead:
    """Return the facts of a whole request head."""
    head = REQUESTS.scan(data, 0)
    assert head is not None
    return head


def response_head(data: bytes) -> ResponseHead:
    """Return the facts of a whole response head."""
    head = RESPONSES.scan(data, 0)
    assert head is not None
    return head


def judge_request(pieces: Sequence[bytes]) -> JudgedRequest | None:
    """Return the result of a request; None while its head is not complete."""
    head, later = scan_pieces(REQUESTS, pieces)
    if head is None:
        return None
    if head.method == b"CONNECT":
        return _judge_connect(head, later)
    framing = request_framing(head)
    check_host(head)
    forwarded_target = forward_target(head)
    check_expectation(head)
    upgrade = requests_upgrade(head)
    target = Router("127.0.0.1").route(head.method, head.host, head.reserved)
    arrived = [head.buffer[head.end :], *later]
    body = request_body(framing, CHUNKS)
    fed = feed_pieces(body, arrived)
    if forwarded_target is None and head.minor and not upgrade:
        sent = serialize_request(head, fed.output)
    else:
        host = target.authority().encode()
        sent = serialize_changed_request(head, forwarded_target, upgrade, host, fed.output)
    keeps_alive = client_keeps_alive(head)
    return JudgedRequest(
        head, framing, upgrade, keeps_alive, target.port, sent, fed.is_done, fed.trailing_data
    )


def _judge_connect(head: RequestHead, later: list[bytes]) -> JudgedRequest:
    check_host(head)
    check_authority_form(head)
    check_expectation(head)
    target = Router("127.0.0.1").route(head.method, head.host, head.reserved)
    trailing_data = head.buffer[head.end :] + b"".join(later)
    keeps_alive = client_keeps_alive(head)
    return JudgedRequest(head, 0, False, keeps_alive, target.port, b"", True, trailing_data)


def judge_response(request: RequestHead, pieces: Sequence[bytes]) -> JudgedResponse | None:
    """Return the result of a response; None while its head is not complete."""
    head, later = scan_pieces(RESPONSES, pieces)
    if head is None:
        return None
    framing = response_framing(head, request.method)
    keeps_alive = upstream_keeps_alive(head, framing)
    arrived = [head.buffer[head.end :], *later]
    if head.status < 200:
        sent = serialize_response(head, b"", False, b"")
        if head.status == 101:
            check_upgrade_granted(request, head, requests_upgrade(request))
            sent = head.buffer[: head.end]
        return JudgedResponse(head.status, 0, keeps_alive, 0, sent, b"", True, b"".join(arrived))
    is_coded = head.transfer_encoding is not None
    coding = choose_coding(request.minor, framing, is_coded, client_keeps_alive(request))
    unwrap = coding & UNWRAP != 0
    body: Body = response_body(framing, CHUNKS, unwrap)
    fed = feed_pieces(body, arrived)
    added = coding_field_lines(request.minor, coding)
    sent = serialize_response(head, added, unwrap, b"")
    if head.rest_size() == framing <= MAX_JOINED:
        whole = serialize_whole_response(head, added, unwrap)
        assert whole == serialize_response(head, added, unwrap, head.rest())
    done = fed.is_done or body.ends_with_connection()
    keeps_alive = keeps_alive and not body.is_normalized
    return JudgedResponse(
        head.status, framing, keeps_alive, coding, sent, fed.output, done, fed.trailing_data
    )
