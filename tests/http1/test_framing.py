"""How bodies end: by length, chunks or close, or without bytes; and which framings are refused."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE, request_framing, response_framing
from tests.helpers.judging import request_head, response_head

LENGTH = b"Content-Length: 5\r\n"
ZERO = b"Content-Length: 0\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
BOTH = "both Transfer-Encoding and Content-Length are given"
NOT_CHUNKED = "Transfer-Encoding is not exactly chunked"
OLD = "Transfer-Encoding is not defined for HTTP/1.0"


def of_request(fields: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"POST") -> int:
    return request_framing(request_head(method + b" / " + version + b"\r\n" + fields + b"\r\n"))


def of_response(
    fields: bytes, status: int = 200, method: bytes = b"GET", version: bytes = b"HTTP/1.1"
) -> int:
    head = response_head(b"%b %d X\r\n%b\r\n" % (version, status, fields))
    return response_framing(head, method)


def test_the_special_framings_are_no_lengths() -> None:
    assert len({CHUNKED, UNTIL_CLOSE}) == 2
    assert max(CHUNKED, UNTIL_CLOSE) < 0


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"X"])
def test_a_request_is_framed_by_its_fields_for_any_method(method: bytes) -> None:
    assert of_request(b"", method=method) == 0
    assert of_request(ZERO, method=method) == 0
    assert of_request(LENGTH, method=method) == 5
    assert of_request(CODING, method=method) == CHUNKED
    assert of_request(LENGTH, b"HTTP/1.0", method) == 5


@pytest.mark.parametrize(
    ("fields", "version", "reason"),
    [
        (CODING + LENGTH, b"HTTP/1.1", BOTH),
        (ZERO + CODING, b"HTTP/1.1", BOTH),
        (CODING, b"HTTP/1.0", OLD),
        (CODING + CODING, b"HTTP/1.1", NOT_CHUNKED),
        (b"Transfer-Encoding:\r\n", b"HTTP/1.1", NOT_CHUNKED),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"HTTP/1.1", NOT_CHUNKED),
    ],
)
def test_ambiguous_framing_of_a_request_is_refused(
    fields: bytes, version: bytes, reason: str
) -> None:
    with pytest.raises(BadMessage) as caught:
        of_request(fields, version)
    assert (caught.value.status, caught.value.reason) == (400, reason)


@pytest.mark.parametrize(
    "fields",
    [CODING + CODING, b"Transfer-Encoding:\r\n", b"Transfer-Encoding: gzip, chunked\r\n"],
)
def test_a_coding_that_is_not_chunked_is_refused_even_without_a_body(fields: bytes) -> None:
    for method, status in ((b"GET", 200), (b"HEAD", 200), (b"GET", 304)):
        with pytest.raises(BadMessage) as caught:
            of_response(fields, status, method)
        assert caught.value.reason == NOT_CHUNKED


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_the_coding_of_a_response_overrides_lengths_in_any_version(version: bytes) -> None:
    assert of_response(CODING + LENGTH, version=version) == CHUNKED
    assert of_response(ZERO + CODING, version=version) == CHUNKED
    assert of_response(CODING, version=version) == CHUNKED


def test_the_coding_is_case_insensitive() -> None:
    assert of_request(b"Transfer-Encoding: CHUNKED\r\n") == CHUNKED
    assert of_response(b"Transfer-Encoding: Chunked\r\n") == CHUNKED


@pytest.mark.parametrize("status", [200, 201, 206, 301, 404, 500, 999])
def test_a_response_is_framed_by_its_fields_or_by_close(status: int) -> None:
    assert of_response(LENGTH, status) == 5
    assert of_response(ZERO, status) == 0
    assert of_response(CODING, status) == CHUNKED
    assert of_response(b"", status) == UNTIL_CLOSE
    assert of_response(b"", status, version=b"HTTP/1.0") == UNTIL_CLOSE


@pytest.mark.parametrize("fields", [b"", ZERO, LENGTH, CODING], ids=["none", "0", "5", "chunked"])
def test_responses_to_head_and_304_have_no_body_despite_their_fields(fields: bytes) -> None:
    assert of_response(fields, 200, b"HEAD") == 0
    assert of_response(fields, 304) == 0
    assert of_response(fields, 304, b"HEAD") == 0


def test_the_method_head_is_case_sensitive() -> None:
    assert of_response(LENGTH, 200, b"head") == 5


@pytest.mark.parametrize("status", [100, 103, 199, 204])
@pytest.mark.parametrize("fields", [b"", ZERO, LENGTH, CODING], ids=["none", "0", "5", "chunked"])
def test_interim_responses_and_204_have_no_body_despite_their_fields(
    fields: bytes, status: int
) -> None:
    assert of_response(fields, status) == 0
    assert of_response(fields, status, b"HEAD") == 0


def test_a_101_may_not_announce_a_body() -> None:
    assert of_response(b"", 101) == 0
    assert of_response(ZERO, 101) == 0
    for fields in (LENGTH, CODING, CODING + LENGTH):
        with pytest.raises(BadMessage) as caught:
            of_response(fields, 101)
        assert caught.value.reason == "a 101 response announces a body"
