"""One field alone: its kind, and the rule that it breaks (RFC 9113 sections 8.2 and 8.3)."""

import pytest

from cmux_proxy.http2 import header_field
from cmux_proxy.http2.header_field import HeaderField

FORBIDDEN_NAMES = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
]
TOKEN_MARKS = b"!#$%&'*+-.^_`|~"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        (b":method", b"GET", header_field.METHOD),
        (b":method", TOKEN_MARKS, header_field.METHOD),
        (b":path", b"/a?b=%20", header_field.PATH),
        (b":path", b"*", header_field.PATH),
        (b":authority", b"a:80", header_field.AUTHORITY),
        (b":scheme", b"http", header_field.SCHEME),
        (b":scheme", b"https", header_field.SCHEME),
        (b":protocol", b"websocket", header_field.PROTOCOL),
        (b"accept", b"*/*", header_field.PLAIN),
        (b"accept", b"", header_field.PLAIN),
        (TOKEN_MARKS, b"a\tb \x80\xff", header_field.PLAIN),
        (b"te", b"trailers", header_field.PLAIN),
        (b"te", b"Trailers", header_field.PLAIN),
        (b"content-length", b"0", header_field.LENGTH),
        (b"content-type", b"application/grpc", header_field.GRPC),
        (b"content-type", b"application/grpc+proto", header_field.GRPC),
        (b"content-type", b"application/grpc;a=b", header_field.GRPC),
        (b"content-type", b"application/grpc-web", header_field.PLAIN),
        (b"content-type", b"text/application/grpc", header_field.PLAIN),
        (b"content-type", b"", header_field.PLAIN),
        (b"accept", b"application/grpc", header_field.PLAIN),
        (b"cookie", b"a=b", header_field.COOKIE),
        (b"host", b"a", header_field.HOST),
        (b"sec-websocket-key", b"x", header_field.WEBSOCKET_KEY),
    ],
)
def test_a_field_has_a_kind_and_a_line(name: bytes, value: bytes, kind: int) -> None:
    field = HeaderField(name, value)
    assert (field.kind, field.rule) == (kind, "")
    is_pseudo = name.startswith(b":")
    assert field.line == (b"" if is_pseudo else name + b": " + value + b"\r\n")
    assert field.size == len(name) + len(value) + 32


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        (b"", b"a", "a field name is empty"),
        (b"Accept", b"a", "a field name has upper-case letters"),
        (b"accepT", b"a", "a field name has upper-case letters"),
        (b":status", b"200", "a pseudo-field is not defined for requests"),
        (b":", b"", "a pseudo-field is not defined for requests"),
        (b":Method", b"GET", "a pseudo-field is not defined for requests"),
        (b":method", b"", "the method is not a token"),
        (b":method", b"GE T", "the method is not a token"),
        (b":method", b"GET\r\n", "the method is not a token"),
        (b":path", b"", "the path is empty"),
        (b":path", b"a", "the path does not begin with a slash"),
        (b":path", b"http://a/", "the path does not begin with a slash"),
        (b":path", b"**", "the path does not begin with a slash"),
        (b":path", b"/ ", "the path has bytes that are not allowed"),
        (b":path", b"/#a", "the path has bytes that are not allowed"),
        (b":path", b"/\x00", "the path has bytes that are not allowed"),
        (b":path", b"/\x7f", "the path has bytes that are not allowed"),
        (b":path", b"/\x80", "the path has bytes that are not allowed"),
        (b":path", b"/ HTTP/1.1\r\nx: y\r\n", "the path has bytes that are not allowed"),
        (b":authority", b"a b", "the authority has bytes that are not allowed"),
        (b":authority", b"a\r\nx: y", "the authority has bytes that are not allowed"),
        (b":authority", b"a#", "the authority has bytes that are not allowed"),
        (b":scheme", b"", "the scheme is neither http nor https"),
        (b":scheme", b"ftp", "the scheme is neither http nor https"),
        (b":scheme", b"HTTP", "the scheme is neither http nor https"),
        (b":protocol", b"", "the protocol is not a token"),
        (b":protocol", b"web socket", "the protocol is not a token"),
        (b":protocol", b"a\r\nb: c", "the protocol is not a token"),
        (b"a", b" b", "a field value has white space at an end"),
        (b"a", b"b ", "a field value has white space at an end"),
        (b"a", b"\tb", "a field value has white space at an end"),
        (b"a", b"b\t", "a field value has white space at an end"),
        (b"a", b" ", "a field value has white space at an end"),
        (b"a", b"b\rc", "a field value has bytes that are not allowed"),
        (b"a", b"b\nc", "a field value has bytes that are not allowed"),
        (b"a", b"b\x00c", "a field value has bytes that are not allowed"),
        (b"a", b"b\x7fc", "a field value has bytes that are not allowed"),
        (b"a", b"b\x1fc", "a field value has bytes that are not allowed"),
        (b"cookie", b"a\r\nb", "a field value has bytes that are not allowed"),
        (b"host", b"a\r\nb", "a field value has bytes that are not allowed"),
        (b"te", b"trailers, deflate", "TE has a value other than trailers"),
        (b"te", b"", "TE has a value other than trailers"),
        (b"content-length", b"", "Content-Length is not a plain number"),
        (b"content-length", b"+1", "Content-Length is not a plain number"),
        (b"content-length", b"1, 1", "Content-Length is not a plain number"),
        (b"content-length", b"1_0", "Content-Length is not a plain number"),
        (b"content-length", b"1" * 19, "Content-Length is not a plain number"),
        *((name, b"a", "a field is for connections of HTTP/1 only") for name in FORBIDDEN_NAMES),
    ],
)
def test_a_malformed_field_names_its_rule(name: bytes, value: bytes, rule: str) -> None:
    field = HeaderField(name, value)
    assert (field.kind, field.rule, field.line) == (header_field.MALFORMED, rule, b"")


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_name_is_judged(byte: int) -> None:
    is_valid = bytes([byte]).islower() or bytes([byte]).isdigit() or byte in TOKEN_MARKS
    field = HeaderField(b"a" + bytes([byte]) + b"a", b"v")
    assert (field.kind == header_field.PLAIN) is is_valid


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_value_is_judged(byte: int) -> None:
    is_valid = byte >= 0x20 and byte != 0x7F
    field = HeaderField(b"a", b"v" + bytes([byte]) + b"v")
    assert (field.kind == header_field.PLAIN) is (is_valid or byte == 0x09)
