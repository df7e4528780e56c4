"""Any bytes become facts or a refusal, without another exception, and the facts are sound."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.chunked_body import ChunkedBody
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.explain import explain_request, explain_response
from tests.helpers.feeding import assert_sound, scan_pieces
from tests.helpers.grammars import chunked_bodies, cut_up, mutated, requests, responses
from tests.helpers.judging import (
    CHUNKS,
    REQUESTS,
    RESPONSES,
    judge_request,
    judge_response,
    request_head,
)

UPGRADE = request_head(
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
)
ANY_REQUEST = cut_up(st.one_of(mutated(requests(), max_changes=8), st.binary()))
ANY_RESPONSE = cut_up(st.one_of(mutated(responses(), max_changes=8), st.binary()))
STATUSES = {400, 414, 417, 431, 505}


def refusal(action: Callable[[], object]) -> BadMessage | RouteRefused | None:
    """Return what the action refuses; any other exception is a failure."""
    try:
        action()
    except (BadMessage, RouteRefused) as error:
        return error
    return None


@given(ANY_REQUEST)
def test_any_bytes_become_a_request_or_a_refusal(pieces: list[bytes]) -> None:
    error = refusal(lambda: judge_request(pieces))
    assert error is None or error.status in STATUSES
    assert error is None or (str(error) and str(error).isascii() and "\n" not in str(error))


@given(ANY_RESPONSE)
def test_any_bytes_become_a_response_or_a_refusal(pieces: list[bytes]) -> None:
    error = refusal(lambda: judge_response(UPGRADE, pieces))
    assert error is None or (str(error) and str(error).isascii() and "\n" not in str(error))


@given(cut_up(st.one_of(mutated(chunked_bodies(), max_changes=8), st.binary())), st.booleans())
def test_any_bytes_become_a_chunked_body_or_a_refusal(pieces: list[bytes], unwrap: bool) -> None:
    body = ChunkedBody(CHUNKS, unwrap)

    def feed() -> None:
        for piece in pieces:
            if not body.is_done:
                body.feed(piece, 0)

    refusal(feed)


@given(ANY_REQUEST)
def test_the_facts_of_a_request_are_sound(pieces: list[bytes]) -> None:
    try:
        head, _ = scan_pieces(REQUESTS, pieces)
    except BadMessage:
        return
    if head is not None:
        assert 0 < head.line_end < head.end <= len(head.buffer)
        assert head.buffer[head.line_end - 2 : head.line_end] == b"\r\n"
        assert head.buffer[: head.end].endswith(b"\r\n\r\n")
        assert_sound(head)


@given(ANY_RESPONSE)
def test_the_facts_of_a_response_are_sound(pieces: list[bytes]) -> None:
    try:
        head, _ = scan_pieces(RESPONSES, pieces)
    except BadMessage:
        return
    if head is not None:
        assert 0 < head.line_end < head.end <= len(head.buffer)
        assert 100 <= head.status <= 999
        assert_sound(head)


@given(
    st.one_of(mutated(requests(), max_changes=8), mutated(responses(), max_changes=8), st.binary())
)
def test_every_head_can_be_explained(data: bytes) -> None:
    for explain in (explain_request, explain_response):
        assert explain(data + b"\r\n\r\n").reason
