"""Heads of HTTP/1.1, composed of the header lists of responses."""

import pytest

from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.response_composer import ResponseComposer

Pairs = list[tuple[bytes, bytes]]


def composed(
    pairs: Pairs, is_last: bool = False, is_for_head: bool = False
) -> tuple[bytes, ResponseComposer]:
    composer = ResponseComposer()
    fields = [HeaderField(name, value) for name, value in pairs]
    return composer.compose(fields, is_last, is_for_head), composer


@pytest.mark.parametrize(
    ("status", "length", "is_last", "is_for_head", "expected", "left"),
    [
        (b"200", b"", False, False, b"transfer-encoding: chunked\r\n", -1),
        (b"200", b"", True, False, b"content-length: 0\r\n", -1),
        (b"200", b"5", False, False, b"content-length: 5\r\n", 5),
        (b"200", b"0", True, False, b"content-length: 0\r\n", 0),
        (b"200", b"5", True, True, b"content-length: 5\r\n", 0),
        (b"200", b"", False, True, b"", 0),
        (b"204", b"", True, False, b"", 0),
        (b"304", b"5", True, False, b"content-length: 5\r\n", 0),
    ],
)
def test_the_framing_is_that_of_the_fields(
    status: bytes, length: bytes, is_last: bool, is_for_head: bool, expected: bytes, left: int
) -> None:
    pairs = [(b":status", status), (b"content-length", length)][: 2 if length else 1]
    head, composer = composed(pairs, is_last, is_for_head)
    assert head == b"HTTP/1.1 " + status + b" \r\n" + expected + b"\r\n"
    assert composer.is_final
    assert composer.is_chunked is (b"chunked" in expected)
    assert composer.content_left == left


def test_fields_keep_their_order_and_an_interim_head_has_no_framing() -> None:
    pairs = [(b":status", b"103"), (b"link", b"</a>"), (b"host", b"a"), (b"cookie", b"b")]
    head, composer = composed(pairs)
    assert head == b"HTTP/1.1 103 \r\nlink: </a>\r\nhost: a\r\ncookie: b\r\n\r\n"
    assert not composer.is_final


@pytest.mark.parametrize(
    ("pairs", "is_last", "rule"),
    [
        ([], False, "the status is missing"),
        ([(b":status", b"2x0")], False, "the status is missing"),
        ([(b":status", b"099")], False, "the status is missing"),
        ([(b":status", b"2000")], False, "the status is missing"),
        ([(b":status", b"101")], False, "the status is missing"),
        ([(b":status", b"103")], True, "an interim response ends the stream"),
        ([(b":status", b"200"), (b":status", b"200")], False, "the status comes twice"),
        ([(b"a", b"b"), (b":status", b"200")], False, "the status comes twice, or after"),
        ([(b":status", b"200"), (b":path", b"/")], False, "a pseudo-field is not defined"),
        ([(b":status", b"200"), (b"connection", b"close")], False, "a field is for connections"),
        ([(b":status", b"200"), (b"A", b"b")], False, "a field name has upper-case letters"),
        ([(b":status", b"200"), (b"a", b"b\r\nc: d")], False, "a field value has bytes"),
        ([(b":status", b"200"), (b"content-length", b"5")], True, "the body is shorter"),
        (
            [(b":status", b"200"), (b"content-length", b"5"), (b"content-length", b"5")],
            False, "there is more than one Content-Length",
        ),
    ],
)  # fmt: skip
def test_a_malformed_response_is_a_fault_of_its_stream(
    pairs: Pairs, is_last: bool, rule: str
) -> None:
    with pytest.raises(StreamFault) as caught:
        composed(pairs, is_last)
    assert caught.value.rule.startswith(rule)
