"""The attacks that have names: each is refused, or is read as the one thing that it says.

An attack carries a second request where one reader would see a body and another a request.
"""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from tests.helpers.feeding import ways_to_arrive
from tests.helpers.judging import judge_request, judge_response, request_head

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\n"
CHUNKS = b"0\r\n\r\n" + HIDDEN
LENGTH = b"Content-Length: %d\r\n" % len(CHUNKS)
CODING = b"Transfer-Encoding: chunked\r\n"


def attack(*fields: bytes, body: bytes = CHUNKS) -> bytes:
    return POST + b"".join(fields) + b"\r\n" + body


BOTH_FRAMINGS = {
    "CL.TE": (LENGTH, CODING),
    "TE.CL": (CODING, b"Content-Length: 5\r\n"),
    "CL.0": (CODING, b"Content-Length: 0\r\n"),
    "TE.TE same": (CODING, CODING),
    "TE.TE identity": (CODING, b"Transfer-Encoding: identity\r\n"),
    "TE.TE list": (b"Transfer-Encoding: identity, chunked\r\n", LENGTH),
    "CL.CL differing": (b"Content-Length: 0\r\n", LENGTH),
    "CL.CL same": (LENGTH, LENGTH),
    "CL.CL list": (b"Content-Length: 5, 5\r\n",),
}

# A coding that some readers take for chunked and others for none.
CODINGS = {
    "upper case name, two values": b"TRANSFER-ENCODING: x, chunked\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "form feed": b"Transfer-Encoding:\x0cchunked\r\n",
    "no-break space": b"Transfer-Encoding: \xa0chunked\r\n",
    "NUL behind": b"Transfer-Encoding: chunked\x00\r\n",
    "CR behind": b"Transfer-Encoding: chunked\r\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "parameter": b"Transfer-Encoding: chunked;a=b\r\n",
    "trailing comma": b"Transfer-Encoding: chunked,\r\n",
    "blank before the colon": b"Transfer-Encoding : chunked\r\n",
    "tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
    "NUL before the colon": b"Transfer-Encoding\x00: chunked\r\n",
    "leading blank": b" Transfer-Encoding: chunked\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "folded, tab": b"Transfer-Encoding:\r\n\tchunked\r\n",
    "behind a bare LF": b"A: 1\nTransfer-Encoding: chunked\r\n",
    "behind a bare CR": b"A: 1\rTransfer-Encoding: chunked\r\n",
    "behind a folded line": b"A: 1\r\n Transfer-Encoding: chunked\r\n",
    "misspelled": b"Transfer-Encoding: chunk\r\n",
    "suffix": b"Transfer-Encoding: chunkedx\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "gzip": b"Transfer-Encoding: gzip, chunked\r\n",
    "empty": b"Transfer-Encoding:\r\n",
}

# A length that some readers take for a number and others for none, or for another.
LENGTHS = {
    "plus": b"+5",
    "minus": b"-5",
    "hexadecimal": b"0x5",
    "octal": b"0o5",
    "underscore": b"0_5",
    "blank inside": b"5 5",
    "empty": b"",
    "vertical tab": b"\x0b5",
    "NUL": b"5\x00",
    "fraction": b"5.0",
    "overflow of 64 bits": b"18446744073709551616",
    "overflow of 63 bits": b"9223372036854775808",
    "arabic digit": "\u0665".encode(),
    "list": b"5,6",
}

CHUNKED_BODIES = {
    "size with prefix": b"0x0\r\n\r\n" + HIDDEN,
    "size with sign": b"+0\r\n\r\n" + HIDDEN,
    "size with underscore": b"0_0\r\n\r\n" + HIDDEN,
    "size with blank": b"0 \r\n\r\n" + HIDDEN,
    "size that overflows": b"10000000000000000\r\n\r\n" + HIDDEN,
    "size line ends in LF": b"0\n\n" + HIDDEN,
    "size line ends in CR": b"0\r\r" + HIDDEN,
    "extension ends in LF": b"2;\nxx\r\n30\r\n0\r\n\r\n" + HIDDEN,
    "extension ends in CR": b"2;a\rxx\r\n0\r\n\r\n" + HIDDEN,
    "chunk without end": b"3\r\nabc0\r\n\r\n" + HIDDEN,
    "chunk that spills": b"2\r\nabc\r\n0\r\n\r\n" + HIDDEN,
    "chunk ends in LF": b"3\r\nabc\n0\r\n\r\n" + HIDDEN,
    "last line ends in LF": b"0\r\n\n" + HIDDEN,
    "trailer without colon": b"0\r\n" + HIDDEN,
}

LINES = {
    "Host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
    "Host of two": b"GET / HTTP/1.1\r\nHost: a, b\r\n",
    "Host with user": b"GET / HTTP/1.1\r\nHost: a@b\r\n",
    "Host behind LF": b"GET / HTTP/1.1\r\nA: 1\nHost: b\r\nHost: a\r\n",
    "two versions": b"GET / HTTP/1.1 HTTP/1.0\r\nHost: a\r\n",
    "no version": b"GET /\r\nHost: a\r\n",
    "tab for a blank": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n",
    "line in the target": b"GET /\nX: HTTP/1.1\r\nHost: a\r\n",
    "authority of two": b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n",
    "backslash": b"GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n",
}

NOMINATED = ["Content-Length", "Transfer-Encoding", "Host", "X-Cmux-Port-Internal", "x-cmux-a"]


def assert_refused(data: bytes) -> None:
    for pieces in ways_to_arrive(data):
        with pytest.raises((BadMessage, RouteRefused)):
            judge_request(pieces)


@pytest.mark.parametrize("fields", BOTH_FRAMINGS.values(), ids=BOTH_FRAMINGS)
def test_two_framings_are_refused(fields: tuple[bytes, ...]) -> None:
    assert_refused(attack(*fields))


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_an_obscured_coding_is_refused(coding: bytes) -> None:
    assert_refused(attack(coding))
    assert_refused(attack(coding, LENGTH))
    assert_refused(attack(LENGTH, coding))


@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
def test_an_obscured_length_is_refused(length: bytes) -> None:
    assert_refused(attack(b"Content-Length: " + length + b"\r\n"))


@pytest.mark.parametrize("body", CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
def test_an_obscured_chunk_is_refused(body: bytes) -> None:
    assert_refused(attack(CODING, body=body))


@pytest.mark.parametrize("head", LINES.values(), ids=LINES)
def test_an_obscured_destination_is_refused(head: bytes) -> None:
    assert_refused(head + b"X-Cmux-Port-Internal: 1\r\n\r\n")


@pytest.mark.parametrize("name", NOMINATED)
def test_framing_and_routing_cannot_be_nominated_away(name: str) -> None:
    for value in (name, name.upper(), f"close, {name}", f"{name},"):
        assert_refused(attack(LENGTH, f"Connection: {value}\r\n".encode()))


def test_a_coding_of_http10_is_refused() -> None:
    assert_refused(attack(CODING).replace(b"HTTP/1.1", b"HTTP/1.0", 1))


# What is accepted has one meaning


def test_a_hidden_request_behind_a_length_is_content() -> None:
    judged = judge_request([attack(LENGTH)])
    assert judged is not None
    assert judged.forwarded.endswith(b"\r\n\r\n" + CHUNKS)
    assert judged.behind == b""


def test_a_hidden_request_behind_the_last_chunk_is_the_next_request() -> None:
    judged = judge_request([attack(CODING)])
    assert judged is not None
    assert judged.forwarded.endswith(b"\r\n\r\n0\r\n\r\n")
    assert judged.behind == HIDDEN


def test_a_hidden_request_behind_no_framing_is_the_next_request() -> None:
    judged = judge_request([attack(body=HIDDEN)])
    assert judged is not None
    assert judged.behind == HIDDEN
    assert HIDDEN not in judged.forwarded


def test_a_trailer_cannot_frame_or_route() -> None:
    trailers = b"Content-Length: 5\r\nX-Cmux-Port-Internal: 2\r\nHost: b\r\nA: 1\r\n"
    judged = judge_request([attack(CODING, body=b"0\r\n" + trailers + b"\r\n")])
    assert judged is not None
    assert judged.port == 1
    assert judged.forwarded.endswith(b"\r\n\r\n0\r\nA: 1\r\n\r\n")


def test_the_destination_in_a_target_is_the_one_in_host() -> None:
    data = b"GET http://b/ HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\n\r\n"
    judged = judge_request([data])
    assert judged is not None
    assert judged.forwarded == b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"
    assert judged.port == 1


def test_an_upgrade_to_http2_loses_its_settings() -> None:
    """Without them the upstream has to ignore the upgrade (RFC 7540 section 3.2.1)."""
    h2c = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    judged = judge_request([attack(h2c, body=b"")])
    assert judged is not None
    assert b"HTTP2-Settings" not in judged.forwarded


# Answers


ANSWERS = {
    "CL.TE": b"HTTP/1.1 200 OK\r\n" + LENGTH + CODING,
    "CL.CL": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + LENGTH,
    "TE.TE": b"HTTP/1.1 200 OK\r\n" + CODING + CODING,
    "coding of HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CODING,
    "length behind a bare LF": b"HTTP/1.1 200 OK\r\nA: 1\n" + LENGTH,
    "length behind a bare CR": b"HTTP/1.1 200 OK\r\nA: 1\r" + LENGTH,
    "folded": b"HTTP/1.1 200 OK\r\nA: 1\r\n " + LENGTH,
    "interim with a body": b"HTTP/1.1 100 Continue\r\n" + LENGTH,
    "204 with a body": b"HTTP/1.1 204 No Content\r\n" + LENGTH,
    "a switch unasked": b"HTTP/1.1 101 X\r\nUpgrade: a\r\nConnection: upgrade\r\n",
    "length nominated away": b"HTTP/1.1 200 OK\r\nConnection: content-length\r\n" + LENGTH,
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("head", ANSWERS.values(), ids=ANSWERS)
def test_an_ambiguous_answer_is_refused(head: bytes, method: str) -> None:
    request = request_head(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    for pieces in ways_to_arrive(head + b"\r\n" + CHUNKS):
        with pytest.raises(BadMessage):
            judge_response(request, pieces)


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [("HEAD", 200, LENGTH), ("GET", 304, LENGTH), ("GET", 204, b""), ("HEAD", 200, CODING)],
)
def test_what_follows_an_answer_without_body_is_not_its_own(
    method: str, status: int, fields: bytes
) -> None:
    request = request_head(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    answer = b"HTTP/1.1 %d X\r\n" % status + fields + b"\r\n"
    judged = judge_response(request, [answer + b"HTTP/1.1 200 OK\r\n\r\n"])
    assert judged is not None
    assert judged.head + judged.body == answer
    assert judged.behind == b"HTTP/1.1 200 OK\r\n\r\n"
