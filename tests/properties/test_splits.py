"""Bytes that are split in any way give the same facts, forwarded bytes and refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.field_kinds import request_field_kinds
from cmux_proxy.http1.fields import FieldReader
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from tests.helpers.feeding import (
    Fed,
    H,
    Scanner,
    attribute_values,
    byte_by_byte,
    facts,
    feed_pieces,
    scan_pieces,
)
from tests.helpers.grammars import (
    chunked_bodies,
    cut_up,
    harmless_lines,
    mutated,
    requests,
    responses,
)
from tests.helpers.judging import CHUNKS, judge_request, judge_response, request_head

GET = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
OLD_GET = request_head(b"GET / HTTP/1.0\r\n\r\n")
# Small enough that generated messages reach them.
SMALL = HeadLimits(start_line=24, section=120, fields=6)
SMALL_REQUESTS = RequestScanner(SMALL, ReservedFields(b"x-cmux-", b"-internal"))
SMALL_RESPONSES = ResponseScanner(SMALL)
SMALL_CHUNKS = ChunkRules(line=8, extensions=12, trailers=40, reserved_prefix=b"x-cmux-")


class Refused:
    """Any refusal, because the split may decide which of several faults is found first."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused)

    def __hash__(self) -> int:
        return 0


def request_outcome(pieces: list[bytes]) -> object:
    try:
        judged = judge_request(pieces)
    except (BadMessage, RouteRefused):
        return Refused()
    return None if judged is None else (judged, facts(judged.head))


def response_outcome(pieces: list[bytes], to_old_client: bool) -> object:
    try:
        return judge_response(OLD_GET if to_old_client else GET, pieces)
    except BadMessage:
        return Refused()


def body_outcome(pieces: list[bytes], rules: ChunkRules, unwrap: bool) -> object:
    try:
        return feed_pieces(ChunkedBody(rules, unwrap), pieces)
    except BadMessage:
        return Refused()


def assert_same(outcome: object, whole: object, is_finished: bool) -> None:
    """Assert equality; an unfinished message may be refused earlier in small pieces."""
    if is_finished or outcome != Refused():
        assert outcome == whole


@given(cut_up(mutated(requests())))
def test_a_request_has_the_same_result(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    whole = request_outcome([data])
    judged = whole[0] if isinstance(whole, tuple) else None
    is_finished = whole == Refused() or (judged is not None and judged.is_complete)
    for split in (pieces, byte_by_byte(data)):
        assert_same(request_outcome(split), whole, is_finished)


@given(cut_up(mutated(responses())), st.booleans())
def test_a_response_has_the_same_result(pieces: list[bytes], to_old_client: bool) -> None:
    data = b"".join(pieces)
    whole = response_outcome([data], to_old_client)
    is_finished = whole == Refused() or getattr(whole, "is_complete", False)
    for split in (pieces, byte_by_byte(data)):
        assert_same(response_outcome(split, to_old_client), whole, is_finished)


@pytest.mark.parametrize("rules", [CHUNKS, SMALL_CHUNKS], ids=["usual limits", "small limits"])
@given(pieces=cut_up(mutated(chunked_bodies())), unwrap=st.booleans())
def test_a_chunked_body_has_the_same_result(
    rules: ChunkRules, pieces: list[bytes], unwrap: bool
) -> None:
    data = b"".join(pieces)
    whole = body_outcome([data], rules, unwrap)
    is_finished = whole == Refused() or (isinstance(whole, Fed) and whole.is_done)
    for split in (pieces, byte_by_byte(data)):
        assert_same(body_outcome(split, rules, unwrap), whole, is_finished)


@given(cut_up(chunked_bodies()))
def test_unwrapping_removes_only_the_chunks(pieces: list[bytes]) -> None:
    """The forwarded body and the received one have the same content."""
    forwarded = feed_pieces(ChunkedBody(CHUNKS, unwrap=False), pieces)
    content = feed_pieces(ChunkedBody(CHUNKS, unwrap=True), pieces)
    again = feed_pieces(ChunkedBody(CHUNKS, unwrap=True), [forwarded.output])
    assert again == content
    assert forwarded.is_done
    assert (
        feed_pieces(ChunkedBody(CHUNKS, unwrap=False), [forwarded.output]).output
        == forwarded.output
    )


def assert_scanned_alike(scanner: Scanner[H], pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    outcomes: list[dict[str, object] | None] = []
    for split in ([data], pieces, byte_by_byte(data)):
        try:
            head, _ = scan_pieces(scanner, split)
            outcomes.append(None if head is None else facts(head))
        except BadMessage:
            outcomes.append({})
    assert outcomes[1:] == outcomes[:1] * 2


@given(cut_up(mutated(requests())))
def test_small_limits_hold_for_requests_split_in_any_way(pieces: list[bytes]) -> None:
    assert_scanned_alike(SMALL_REQUESTS, pieces)


@given(cut_up(mutated(responses())))
def test_small_limits_hold_for_responses_split_in_any_way(pieces: list[bytes]) -> None:
    assert_scanned_alike(SMALL_RESPONSES, pieces)


sections = st.lists(harmless_lines, max_size=4).map(lambda lines: b"".join(lines) + b"\r\n")


@given(st.lists(sections, min_size=1, max_size=3), st.lists(st.integers(0, 2), max_size=12))
def test_a_cached_section_equals_one_that_is_read(blocks: list[bytes], order: list[int]) -> None:
    limits = HeadLimits(1000, 1000, 100)
    reserved = ReservedFields(b"x-cmux-", b"-internal")
    kinds = request_field_kinds(reserved)
    caching = FieldReader(limits, kinds, reserved)
    for number in order:
        block = blocks[number % len(blocks)]
        fresh = FieldReader(limits, kinds, reserved).read(block)
        again = caching.read(block)
        assert fresh is not None
        assert again is not None
        assert attribute_values(again.fields) == attribute_values(fresh.fields)
        assert attribute_values(again.spans) == attribute_values(fresh.spans)
        assert again.stripped == fresh.stripped
