"""Whole messages, requests and responses, through http1 and routing.

Each function takes any bytes, asserts the conditions, and returns all facts about them as plain
values, which the other build has to return too.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from cmux_proxy.config.sections import Rewriting
from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.http1.framing import request_framing
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.request_target import forward_target
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.http1.serialize import serialize_changed_request
from cmux_proxy.http1.upgrade import requests_upgrade
from cmux_proxy.relay.header_rules import Rewriter
from cmux_proxy.relay.request_options import OPTION_NAMES, TOKEN_FIELD
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX
from cmux_proxy.routing.target import Target
from fuzz.parsers.cuts import Pieces, is_refusal, outcome, same_in_all_splits
from tests.helpers.feeding import Scanner, assert_sound, facts, scan_pieces
from tests.helpers.judging import (
    REQUESTS,
    RESPONSES,
    JudgedRequest,
    judge_request,
    judge_response,
    request_head,
)
from tests.helpers.one_reading import LaxReader, check_request, check_response
from tests.helpers.second_opinion import assert_agreed_response

# Small enough for short inputs to reach them.
_SMALL: Final = HeadLimits(start_line=40, section=120, fields=5)
_USUAL: Final = HeadLimits(16384, 65536, 256)
_LARGE: Final = HeadLimits(131072, 131072, 131072)
_RESERVED: Final = ReservedFields(RESERVED_PREFIX, RESERVED_SUFFIX, OPTION_NAMES, (TOKEN_FIELD,))
_SMALL_REQUESTS: Final = RequestScanner(_SMALL, _RESERVED)
_SMALL_RESPONSES: Final = ResponseScanner(_SMALL)

_REQUESTS_BEFORE: Final = {
    "GET": request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HEAD": request_head(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    "old": request_head(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    "upgrade": request_head(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, a/1\r\n\r\n"
    ),
}
# Hop-by-hop lines that a forwarded request without an upgrade may have.
_RENEWED: Final = {b"TE: trailers\r\n", b"Connection: TE\r\n"}
_REWRITER: Final = Rewriter(
    Rewriting(
        host_header="upstream",
        rewrite_origin=True,
        forwarded="append",
        forwarded_rfc7239=True,
        trusted_proxies=("127.0.0.0/8",),
    )
)

Facts = Mapping[str, object]
AnyScanner = RequestScanner | ResponseScanner


def request(data: bytes) -> object:
    """Read any bytes as those of a client."""
    results = same_in_all_splits(data, _request, _is_complete)
    if not is_refusal(results[0]) and results[0] is not None:
        check_request(data)
        _check_forwarded(data)
    return (
        results,
        _scanned(REQUESTS, RequestScanner(_USUAL, _RESERVED), data),
        _scanned_small(_SMALL_REQUESTS, data),
    )


def _request(pieces: Pieces) -> Facts | None:
    judged = judge_request(pieces)
    return None if judged is None else request_facts(judged)


def request_facts(judged: JudgedRequest) -> Facts:
    """Return all facts about a request."""
    return {
        **head_facts(judged.head),
        "framing": judged.framing,
        "requests_upgrade": judged.upgrade,
        "keeps_alive": judged.keeps_alive,
        "port": judged.port,
        "forwarded": judged.forwarded,
        "is_complete": judged.is_complete,
        "trailing_data": judged.trailing_data,
    }


def head_facts(head: RequestHead | ResponseHead) -> Facts:
    """Return the facts of a head, after checking that they are sound."""
    assert_sound(head)
    assert head.buffer[: head.end].endswith(b"\r\n\r\n")
    return {name: value for name, value in facts(head).items() if not name.startswith("_")}


def _is_complete(result: object) -> bool:
    return isinstance(result, Mapping) and bool(result["is_complete"])


def _check_forwarded(data: bytes) -> None:
    """Assert that the forwarded request has the same framing, and no more lines to cut."""
    judged = judge_request([data])
    if judged is None or judged.head.method == b"CONNECT":
        return
    head = judged.head
    target = Target("127.0.0.1", judged.port)
    request = Http1Request(head)
    edits = _REWRITER.edits(request, target, None, "127.0.0.1")
    forwarded = forward_target(head)
    edited = serialize_changed_request(head, forwarded, judged.upgrade, b"a", b"", edits)
    for sent in (judged.forwarded, edited):
        again = REQUESTS.scan(sent, 0)
        assert again is not None
        assert request_framing(again) == judged.framing
        assert again.method == head.method
        assert again.minor == 1
        assert requests_upgrade(again) == judged.upgrade
        spans = again.spans()
        kept = {*spans.connection_lines, *spans.upgrade_lines} if judged.upgrade else set()
        cut = {again.section()[start:end] for start, end in set(spans.cuts) - kept}
        assert cut <= (_RENEWED if spans.accepts_trailers else set())
        assert len(LaxReader(sent[: again.end]).hosts) == 1


def response(data: bytes) -> object:
    """Read any bytes as those of an upstream, as the response to several requests."""
    results = [
        same_in_all_splits(data, partial(_response, request_before), _is_complete)
        for request_before in _REQUESTS_BEFORE.values()
    ]
    for is_old in (False, True):
        check_response(data, is_old)
    for name in ("GET", "HEAD", "old"):
        assert_agreed_response(data, _REQUESTS_BEFORE[name])
    return (
        results,
        _scanned(RESPONSES, ResponseScanner(_LARGE), data),
        _scanned_small(_SMALL_RESPONSES, data),
    )


def _response(request_before: RequestHead, pieces: Pieces) -> Facts | None:
    judged = judge_response(request_before, pieces)
    return None if judged is None else dict(vars(judged))


def _scanned(scanner: AnyScanner, fresh: AnyScanner, data: bytes) -> object:
    """Return the facts; a scanner with an empty cache, and the full scan, have to find the same."""
    result = outcome(partial(_scan, scanner, [data]))
    assert outcome(partial(_scan, fresh, [data])) == result
    assert outcome(partial(_scan_fully, scanner, data)) == result
    return result


def _scan(scanner: Scanner[RequestHead | ResponseHead], pieces: Pieces) -> Facts | None:
    head, _ = scan_pieces(scanner, pieces)
    return None if head is None else head_facts(head)


def _scan_fully(scanner: AnyScanner, data: bytes) -> Facts | None:
    head = scanner.scan_fully(data, 0)
    return None if head is None else head_facts(head)


def _scanned_small(scanner: Scanner[RequestHead | ResponseHead], data: bytes) -> object:
    return same_in_all_splits(data, partial(_scan, scanner), lambda result: result is not None)
