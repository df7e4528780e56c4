"""Response heads that the strict rules refuse: how they are normalized, and which are refused."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.normalize import find_response_end, normalize
from cmux_proxy.http1.scan import ResponseScanner
from tests.helpers.feeding import byte_by_byte, scan_pieces
from tests.helpers.judging import RESPONSES

OK = b"HTTP/1.1 200 OK"
CLOSE = b"Connection: close"


def head(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    return b"".join(line + end for line in (*lines, b""))


def test_every_kind_of_line_end_becomes_crlf() -> None:
    clean = head(OK, b"A: 1", b"B: 2", CLOSE)
    for data in (
        head(OK, b"A: 1", b"B: 2", end=b"\n"),
        head(OK + b"\r", b"A: 1", b"B: 2\r", end=b"\n"),
        head(OK, b"A: 1", b"B: 2"),
    ):
        assert normalize(data) == clean


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n", b"\r\n\n", b"\r\n\r\n"])
def test_the_first_blank_line_ends_the_head(end: bytes) -> None:
    data = OK + b"\nA: 1" + end + b"B: 2\n\nHTTP/1.1 200 OK\r\n\r\n"
    assert find_response_end(data, 0) == len(OK + b"\nA: 1" + end)


def test_the_blank_line_is_found_split_in_any_way() -> None:
    for data in (OK + b"\n\n", OK + b"\r\n\r\n", OK + b"\n\r\n", OK + b"\r\n\n"):
        for size in range(len(data)):
            assert find_response_end(data[:size], max(0, size - 1)) == 0
            assert find_response_end(data, size) == len(data)


def test_a_fold_becomes_one_blank() -> None:
    data = head(OK, b"A: 1 \t", b" \t 2", b"\t3 ", b"B:", b" 4")
    assert normalize(data) == head(OK, b"A: 1 2 3", b"B: 4", CLOSE)


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"TRANSFER-ENCODING", b"connection", b"Upgrade"]
)
def test_framing_and_upgrade_fields_are_not_unfolded(name: bytes) -> None:
    for lines in ((name + b":", b" 5"), (b"A: 1", b" 2", name + b": 5", b"\t")):
        with pytest.raises(BadMessage, match="is folded"):
            normalize(head(OK, *lines))


def test_a_fold_before_the_first_field_is_refused() -> None:
    for data in (head(OK, b" A: 1"), head(OK, b"\t", b"A: 1"), head(OK, b" ", end=b"\n")):
        with pytest.raises(BadMessage, match="begins with white space"):
            normalize(data)


def test_equal_lengths_become_one_at_the_position_of_the_first() -> None:
    data = head(OK, b"A: 1", b"content-length: 5, 05", b"B: 2", b"Content-Length:005")
    assert normalize(data) == head(OK, b"A: 1", b"Content-Length: 5", b"B: 2", CLOSE)


@pytest.mark.parametrize(
    "value",
    [
        b"5, 6",
        b"5,",
        b",5",
        b"",
        b"5, +5",
        b"5, 0x5",
        b"5;5",
        b"5 5",
        b"1" * 19,
        b"5, " + b"1" * 19,
    ],
)
def test_different_or_malformed_lengths_are_refused(value: bytes) -> None:
    for others in ((), (b"Transfer-Encoding: chunked",), (b"Content-Length: 5",)):
        with pytest.raises(BadMessage, match="Content-Length"):
            normalize(head(OK, b"Content-Length: " + value, *others))


def test_the_coding_overrides_lengths() -> None:
    data = head(OK, b"Content-Length: 5", b"transfer-encoding: chunked", b"Content-Length: 5")
    assert normalize(data) == head(OK, b"transfer-encoding: chunked", CLOSE)


@pytest.mark.parametrize("status", [b"100", b"102", b"103", b"199", b"204"])
def test_a_response_without_content_loses_its_framing(status: bytes) -> None:
    data = head(
        b"HTTP/1.1 " + status + b" X", b"Content-Length: x", b"A: 1", b"Transfer-Encoding: y"
    )
    assert normalize(data) == head(b"HTTP/1.1 " + status + b" X", b"A: 1", CLOSE)


def test_a_101_keeps_its_fields() -> None:
    fields = (b"Content-Length: 5", b"Connection: upgrade, a b", b"Transfer-Encoding: chunked")
    data = head(b"HTTP/1.1 101 X", *fields, end=b"\n")
    assert normalize(data) == head(b"HTTP/1.1 101 X", *fields)


def test_connection_keeps_its_valid_tokens() -> None:
    data = head(
        OK, b"connection: keep-alive; timeout=5, X-A ,, content-length,TRANSFER-encoding, b c"
    )
    assert normalize(data) == head(OK, b"Connection: X-A", CLOSE)


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        (b"HTTP/1.1 200 ", b"HTTP/1.1 200 "),
        (b"HTTP/1.2 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.9 404", b"HTTP/1.1 404 "),
        (b"HTTP/1.0 200 O K ", b"HTTP/1.0 200 O K "),
        (b"HTTP/1.0 200", b"HTTP/1.0 200 "),
    ],
)
def test_a_status_line_is_normalized(line: bytes, clean: bytes) -> None:
    assert normalize(head(line)) == head(clean, CLOSE)


def test_chunks_from_an_http10_service_are_read_as_chunks() -> None:
    data = head(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked")
    assert normalize(data) == head(OK, b"Transfer-Encoding: chunked", CLOSE)


@pytest.mark.parametrize(
    "lines",
    [
        (b"HTTP/2 200 OK",),
        (b"HTTP/1.10 200 OK",),
        (b"HTTP/1.1\t200 OK",),
        (b"HTTP/1.1 200 O\x00K",),
        (OK, b"A : 1"),
        (OK, b"A 1"),
        (OK, b": 1"),
        (OK, b"A: \x00"),
        (OK, b"A: 1\rB: 2"),
        (OK, b"A: 1", b" \x01"),
        (OK, b"Content-Length : 5"),
        (OK, b"\rContent-Length: 5"),
        (OK, b"A: 1\r\r"),
    ],
)
def test_other_heads_are_refused_with_any_line_ends(lines: tuple[bytes, ...]) -> None:
    for end in (b"\r\n", b"\n"):
        data = head(*lines, end=end)
        for pieces in ([data], byte_by_byte(data), [data[:-1], data[-1:]]):
            with pytest.raises(BadMessage):
                scan_pieces(RESPONSES, pieces)


def test_the_bytes_after_a_normalized_head_are_unchanged() -> None:
    data = head(OK, b"Content-Length: 5", end=b"\n")
    scanned = RESPONSES.scan(data + b"he\nlo\n\n", 0)
    assert scanned is not None
    assert scanned.buffer[scanned.end :] == b"he\nlo\n\n"
    assert scanned.stripped == head(OK, b"Content-Length: 5")


def test_limits_hold_for_a_normalized_head() -> None:
    scanner = ResponseScanner(HeadLimits(20, 60, 5))
    assert scanner.scan(head(OK, b"A: 1", b" 2", end=b"\n"), 0) is not None
    for data in (
        head(b"HTTP/1.1 200 " + b"a" * 20, end=b"\n"),
        head(OK, b"A: " + b"a" * 60, end=b"\n"),
        head(OK, *[b"A:"] * 6, end=b"\n"),
        OK + b"\nA: " + b"a" * 60,
    ):
        with pytest.raises(BadMessage, match=r"too l|too many"):
            scanner.scan(data, 0)


def test_limits_hold_for_the_original_bytes_too() -> None:
    scanner = ResponseScanner(HeadLimits(20, 60, 5))
    lost = [b"Content-Length: 5" + b", 5" * 20, b"Transfer-Encoding: chunked"]
    for lines in (lost, [b"Connection: " + b"," * 60], [b"A:", b" " * 60, b"Connection: a b"]):
        data = head(OK, *lines)
        for pieces in ([data], [data[:-1], data[-1:]], byte_by_byte(data)):
            with pytest.raises(BadMessage, match="header section is too large"):
                scan_pieces(scanner, pieces)
