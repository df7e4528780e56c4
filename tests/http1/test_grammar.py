"""The byte classes and patterns: which bytes each matches."""

import re
import string

import pytest

from cmux_proxy.http1 import grammar

ALNUM = (string.ascii_letters + string.digits).encode()
TCHARS = frozenset(ALNUM + b"!#$%&'*+-.^_`|~")


def matched(pattern: bytes | re.Pattern[bytes], frame: str = "{}") -> frozenset[int]:
    """Return the bytes that the pattern matches in place of the braces in a frame."""
    before, after = frame.encode("latin-1").split(b"{}")
    match = re.compile(pattern).fullmatch
    return frozenset(byte for byte in range(256) if match(before + bytes([byte]) + after))


def test_a_token_is_made_of_the_bytes_of_rfc_9110() -> None:
    assert matched(grammar.TOKEN) == TCHARS
    assert matched(grammar.TOKEN_ONLY) == TCHARS
    assert grammar.TOKEN_ONLY.fullmatch(b"") is None


def test_a_field_value_is_visible_bytes_blanks_tabs_and_high_bytes() -> None:
    allowed = frozenset(range(0x20, 0x100)) - {0x7F} | {0x09}
    assert matched(grammar.FIELD_BYTE) == allowed
    assert matched(grammar.FIELD_LINE, "A:{}\r\n") == allowed
    assert matched(grammar.NAMED_FIELD_LINE, "A: {}\r\n") == allowed


def test_a_field_name_is_a_token_right_before_its_colon() -> None:
    # A colon ends the name, so a second colon belongs to the value.
    assert matched(grammar.FIELD_LINE, "A{}: b\r\n") == TCHARS | {ord(":")}
    assert re.fullmatch(grammar.FIELD_LINE, b": b\r\n") is None
    match = grammar.NAMED_FIELD_LINE.match(b"Name: a:b\r\nx")
    assert match is not None
    assert match.groups() == (b"Name",)
    assert match.end() == 11


def test_a_target_is_visible_ascii_without_a_fragment() -> None:
    assert matched(grammar.TARGET) == frozenset(range(0x21, 0x7F)) - {ord("#")}


def test_a_request_line_has_three_parts_between_single_blanks() -> None:
    match = re.fullmatch(grammar.REQUEST_LINE, b"GET /a HTTP/1.0\r\n")
    assert match is not None
    assert match.groups() == (b"GET", b"/a", b"0")
    assert matched(grammar.REQUEST_LINE, "GET{}/ HTTP/1.1\r\n") == {ord(" ")}
    assert matched(grammar.REQUEST_LINE, "GET /{}HTTP/1.1\r\n") == {ord(" ")}
    assert matched(grammar.REQUEST_LINE, "GET / HTTP/1.{}\r\n") == frozenset(b"01")


def test_a_status_line_has_three_digits_and_any_reason() -> None:
    match = re.fullmatch(grammar.STATUS_LINE, b"HTTP/1.0 204 No Content\r\n")
    assert match is not None
    assert match.groups() == (b"0", b"204")
    digits = frozenset(string.digits.encode())
    assert matched(grammar.STATUS_LINE, "HTTP/1.1 {}00 X\r\n") == digits - {ord("0")}
    assert matched(grammar.STATUS_LINE, "HTTP/1.1 2{}0 \r\n") == digits
    assert matched(grammar.STATUS_LINE, "HTTP/1.1 20{} \r\n") == digits
    assert matched(grammar.STATUS_LINE, "HTTP/1.1 200{}X\r\n") == {ord(" ")}
    assert matched(grammar.STATUS_LINE, "HTTP/1.1 200{}\r\n") == {ord(" ")}
    assert matched(grammar.STATUS_LINE, "HTTP/1.1 200 {}\r\n") == matched(grammar.FIELD_BYTE)


def test_a_loose_status_line_has_any_minor_version_and_an_optional_space() -> None:
    digits = frozenset(string.digits.encode())
    assert matched(grammar.ANY_STATUS_LINE, "HTTP/1.{} 200 OK") == digits
    assert matched(grammar.ANY_STATUS_LINE, "HTTP/1.1 20{}") == digits
    assert matched(grammar.ANY_STATUS_LINE, "HTTP/1.1 200{}X") == {ord(" ")}
    assert matched(grammar.ANY_STATUS_LINE, "HTTP/1.1 200 {}") == matched(grammar.FIELD_BYTE)


def test_a_host_name_is_made_of_the_bytes_of_rfc_3986_without_the_comma() -> None:
    name = frozenset(ALNUM + b"-._~!$&'()*+;=")
    # A colon begins an empty port.
    assert matched(grammar.HOST, "a{}") == name | {ord(":")}
    assert matched(grammar.HOST, "a%{}f") == frozenset(string.hexdigits.encode())
    assert matched(grammar.HOST, "a%f{}") == frozenset(string.hexdigits.encode())
    assert matched(grammar.HOST, "a:{}") == frozenset(string.digits.encode())
    assert matched(grammar.HOST, "[{}]") == frozenset(string.hexdigits.encode() + b":.")
    assert matched(grammar.HOST, "[v1.{}]") == name | {ord(":")}


@pytest.mark.parametrize("host", [b"", b":80", b"[]", b"[v.a]", b"[v1.]", b"a:123456", b"[::1]x"])
def test_an_incomplete_host_is_no_host(host: bytes) -> None:
    assert grammar.HOST.fullmatch(host) is None


@pytest.mark.parametrize("authority", [b"a", b"a:", b":1", b"a:123456", b"[::1]", b"u@a:1"])
def test_an_authority_is_host_and_port(authority: bytes) -> None:
    assert grammar.AUTHORITY.fullmatch(b"a:12345") is not None
    assert grammar.AUTHORITY.fullmatch(b"[::1]:1") is not None
    assert grammar.AUTHORITY.fullmatch(authority) is None


def test_an_absolute_target_is_split_after_its_authority() -> None:
    def parts(target: bytes) -> tuple[bytes | None, ...]:
        match = grammar.ABSOLUTE_TARGET.fullmatch(target)
        return () if match is None else match.groups()

    assert parts(b"http://a:1/b?c") == (b"a:1", b"/b?c")
    assert parts(b"HttP://a?c/d") == (b"a", b"?c/d")
    assert parts(b"http://") == (b"", b"")
    assert parts(b"https://a/") == ()
    assert parts(b"xhttp://a/") == ()


def test_a_length_is_at_most_eighteen_ascii_digits() -> None:
    assert matched(grammar.CONTENT_LENGTH) == frozenset(string.digits.encode())
    assert grammar.CONTENT_LENGTH.fullmatch(b"9" * 18) is not None
    assert grammar.CONTENT_LENGTH.fullmatch(b"9" * 19) is None
    assert grammar.CONTENT_LENGTH.fullmatch(b"") is None


def test_a_protocol_is_a_name_with_an_optional_version() -> None:
    assert matched(grammar.UPGRADE_PROTOCOL, "a{}") == TCHARS
    assert matched(grammar.UPGRADE_PROTOCOL, "a/{}") == TCHARS
    assert matched(grammar.UPGRADE_PROTOCOL, "a{}b") == TCHARS | {ord("/")}


HEX = frozenset(string.hexdigits.encode())


def test_a_chunk_size_is_at_most_fifteen_hexadecimal_digits() -> None:
    assert matched(grammar.CHUNK_LINE, "{}\r\n") == HEX
    # A semicolon needs an extension after it.
    assert matched(grammar.CHUNK_LINE, "a{}\r\n") == HEX
    assert grammar.CHUNK_LINE.fullmatch(b"f" * 15 + b"\r\n") is not None
    assert grammar.CHUNK_LINE.fullmatch(b"0" * 16 + b"\r\n") is None


def test_a_chunk_extension_is_tokens_and_quoted_strings() -> None:
    assert matched(grammar.CHUNK_LINE, "a;{}\r\n") == TCHARS
    assert matched(grammar.CHUNK_LINE, "a;b={}\r\n") == TCHARS
    quoted = matched(grammar.FIELD_BYTE)
    assert matched(grammar.CHUNK_LINE, 'a;b="{}"\r\n') == quoted - frozenset(b'"\\')
    assert matched(grammar.CHUNK_LINE, 'a;b="\\{}"\r\n') == quoted
    assert matched(grammar.CHUNK_LINE, "a;b{}c\r\n") == TCHARS | frozenset(b";=")


@pytest.mark.parametrize(
    "line", [b"a\r\n", b"a;b\r\n", b"0;b=c\r\n", b'f0;b="c\\";d";e\r\n', b"1" * 15 + b"\r\n"]
)
def test_every_beginning_of_a_chunk_line_is_accepted(line: bytes) -> None:
    for size in range(len(line)):
        assert grammar.CHUNK_LINE_START.fullmatch(line[:size]) is not None
    assert grammar.CHUNK_LINE_START.fullmatch(line) is None


@pytest.mark.parametrize(
    "line",
    [b"a \t \r\n", b"0" * 99 + b"\r\n", b"a ; b = c ;d\r\n", b'a\t;b=\t"c d" ; e\r\n', b"a;b\r\n"],
)
def test_every_beginning_of_a_loose_chunk_line_is_accepted(line: bytes) -> None:
    assert grammar.ANY_CHUNK_LINE.fullmatch(line) is not None
    for size in range(len(line)):
        assert grammar.ANY_CHUNK_LINE_START.fullmatch(line[:size]) is not None
    assert grammar.ANY_CHUNK_LINE_START.fullmatch(line) is None


def test_a_loose_chunk_line_has_blanks_around_its_parts() -> None:
    blanks = frozenset(b" \t")
    assert matched(grammar.ANY_CHUNK_LINE, "a{}\r\n") == HEX | blanks
    assert matched(grammar.ANY_CHUNK_LINE, "{}a\r\n") == HEX
    assert matched(grammar.ANY_CHUNK_LINE, "a{};b\r\n") == HEX | blanks
    assert matched(grammar.ANY_CHUNK_LINE, "a;{}b\r\n") == TCHARS | blanks
    assert matched(grammar.ANY_CHUNK_LINE, "a;b{}=c\r\n") == TCHARS | blanks
    assert matched(grammar.ANY_CHUNK_LINE, "a;b={}c\r\n") == TCHARS | blanks
    assert matched(grammar.ANY_CHUNK_LINE, "a;b{}\r\n") == TCHARS


@pytest.mark.parametrize(
    "line",
    [b"\r\n", b"a;\r\n", b"a ;\r\n", b"a;b=\r\n", b"a;;b\r\n", b"a b\r\n", b"a\n", b"a \r \n"],
)
def test_other_lines_are_no_chunk_lines(line: bytes) -> None:
    assert grammar.ANY_CHUNK_LINE.fullmatch(line) is None


@pytest.mark.parametrize("start", [b"g", b" ", b"0x", b"a ", b"a\rb", b"a\n", b";", b"1" * 16])
def test_an_invalid_start_of_a_chunk_line_is_known_at_once(start: bytes) -> None:
    assert grammar.CHUNK_LINE_START.fullmatch(start) is None


def test_a_bare_line_feed_has_no_carriage_return_before_it() -> None:
    def at(text: bytes) -> int:
        match = grammar.BARE_LF.search(text)
        return -1 if match is None else match.start()

    assert (at(b"\n"), at(b"a\r\nb\nc"), at(b"\r\n\r\n"), at(b"\r\r\n\n")) == (0, 4, -1, 3)


# Fields


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"A:", b"A", b""),
        (b"Host:\t a b \t", b"Host", b"a b \t"),
        (b"x-!#$%&'*+-.^_`|~9:::", b"x-!#$%&'*+-.^_`|~9", b"::"),
        (b"A: \x80\xff\x7e\x21", b"A", b"\x80\xff\x7e\x21"),
    ],
)
def test_a_field_is_a_name_and_a_value(line: bytes, name: bytes, value: bytes) -> None:
    match = re.fullmatch(grammar.FIELD, line)
    assert match is not None
    assert match.groups() == (name, value)


@pytest.mark.parametrize(
    "line",
    [b"", b":", b": a", b"A", b"A : 1", b" A: 1", b"A\t: 1", b"A: 1\r", b"A: 1\n", b"A: \x00",
     b"A: \x7f", b"A\x80: 1", b"A: 1\r\n", b"A: 1\rB: 2", b"A(: 1", b"A: \x0b"],
)  # fmt: skip
def test_other_lines_are_no_fields(line: bytes) -> None:
    assert re.fullmatch(grammar.FIELD, line) is None


def test_a_value_has_any_byte_except_controls() -> None:
    assert matched(grammar.FIELD, "A:b{}") == frozenset([9, *range(0x20, 0x7F), *range(0x80, 256)])
