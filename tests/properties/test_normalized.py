"""A loose response is read, and forwarded, as its strict form is."""

from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.framing import CHUNKED
from cmux_proxy.http1.response_body import response_body
from cmux_proxy.http1.response_coding import WRAP
from tests.helpers.feeding import feed_pieces, split_at
from tests.helpers.judging import CHUNKS, JudgedResponse, judge_response
from tests.helpers.loosened import loosened
from tests.helpers.one_reading import HEAD, NEW, OLD, LaxReader, check_response

PAIRS = loosened()


def judged(data: bytes, to_old_client: bool) -> JudgedResponse:
    response = judge_response(OLD if to_old_client else NEW, [data])
    assert response is not None
    return response


def content(response: JudgedResponse, to_old_client: bool) -> bytes:
    """Return the content that the client reads."""
    if response.framing != CHUNKED or to_old_client:
        return response.body
    return feed_pieces(response_body(CHUNKED, CHUNKS, unwrap=True), [response.body]).output


@given(PAIRS, st.booleans())
def test_it_has_the_status_and_content_of_its_strict_form(
    pair: tuple[bytes, bytes], to_old_client: bool
) -> None:
    clean, loose = (judged(data, to_old_client) for data in pair)
    assert (loose.status, loose.framing) == (clean.status, clean.framing)
    assert content(loose, to_old_client) == content(clean, to_old_client)
    assert (loose.trailing_data, loose.is_complete) == (clean.trailing_data, clean.is_complete)
    assert loose.coding & WRAP == clean.coding & WRAP


@given(PAIRS)
def test_it_has_the_framing_fields_of_its_strict_form(pair: tuple[bytes, bytes]) -> None:
    clean, loose = (LaxReader(judged(data, False).head) for data in pair)
    assert [int(length) for length in loose.lengths] == [int(length) for length in clean.lengths]
    assert loose.codings == clean.codings


@given(PAIRS, st.booleans())
def test_the_forwarded_response_has_one_reading(
    pair: tuple[bytes, bytes], to_old_client: bool
) -> None:
    assert check_response(pair[1], to_old_client)


@given(PAIRS)
def test_its_connection_is_not_used_again(pair: tuple[bytes, bytes]) -> None:
    clean, loose = pair
    if judged(loose, False).keeps_alive:
        # Nothing was loosened.
        assert loose == clean


@given(PAIRS, st.lists(st.integers(0, 2000), max_size=8))
def test_it_is_read_alike_split_in_any_way(pair: tuple[bytes, bytes], cuts: list[int]) -> None:
    loose = pair[1]
    pieces = split_at(loose, [cut % (len(loose) + 1) for cut in cuts])
    for request in (NEW, OLD, HEAD):
        assert judge_response(request, pieces) == judge_response(request, [loose])
