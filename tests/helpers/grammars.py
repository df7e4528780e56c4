"""Hypothesis strategies: messages made by the grammar, and mutations of them."""

from itertools import product

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.helpers.feeding import split_at

TCHARS = b"!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
FIELD_BYTES = bytes([0x09, *range(0x20, 0x7F), 0x80, 0xA0, 0xFF])
PORT = b"X-Cmux-Port-Internal: 3000\r\n"

# Bytes that a mutation inserts: line ends and similar bytes, separators, lines.
_INSERTIONS = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n ", b"\n\r\n", b"\0", b" ", b"\t", b"\x0b", b"\x0c",
    b"\x7f", b"\x80", b"\xff", b":", b",", b";", b'"', b"=", b"0", b"x", b"+", b"-", b"_", b"0x",
    b"\r\nHost: b", b"\r\nContent-Length: 5", b"\r\nTransfer-Encoding: chunked", b"\r\nTE: a",
    b"\r\nConnection: close", b"\r\nConnection: host", b"\r\n" + PORT[:-2], b"0\r\n\r\n",
    b"\r\nTE: trailers", b"\r\nHTTP2-Settings: a", b"\r\nUpgrade: h2c, a", b"\r\nExpect: ",
)  # fmt: skip


def byte_strings(alphabet: bytes, max_size: int, min_size: int = 0) -> SearchStrategy[bytes]:
    """Return strings of the bytes of an alphabet."""
    return st.lists(st.sampled_from(alphabet), min_size=min_size, max_size=max_size).map(bytes)


tokens = byte_strings(TCHARS, 8, 1)
values = byte_strings(FIELD_BYTES, 12)
contents = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"0\r\n\r\n", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"5\r\nhello\r\n"]),
)


@st.composite
def in_any_case(draw: DrawFn, name: bytes) -> bytes:
    """Return the name with some letters in the other case."""
    mask = draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    return b"".join(
        name[i : i + 1].swapcase() if flip else name[i : i + 1] for i, flip in enumerate(mask)
    )


def field_lines(name: bytes, value: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return lines of one field, in any case, with any white space around the value."""
    blanks = byte_strings(b" \t", 2)
    return st.tuples(in_any_case(name), blanks, value, blanks).map(
        lambda parts: parts[0] + b":" + parts[1] + parts[2] + parts[3] + b"\r\n"
    )


# Names that Connection may nominate, so that they are also drawn as fields.
_HOPS = (b"x-hop", b"x-other", b"te", b"keep-alive", b"accept", b"expires")
_connection_items = st.one_of(
    st.sampled_from([b"close", b"keep-alive", b"upgrade", b"Upgrade", b"", b" "]),
    st.sampled_from(_HOPS).flatmap(in_any_case),
)
_connection = st.lists(_connection_items, max_size=3).map(b", ".join)
_protocols = st.sampled_from([b"websocket", b"h2c, irc/2", b"WebSocket", b",a,", b"", b"H2c"])
_codings = st.sampled_from([b"trailers", b"gzip;q=1 , Trailers", b"trailers;q=1", b'a;b=",c"', b""])

harmless_lines = st.one_of(
    st.tuples(tokens, values).map(lambda pair: b"X" + pair[0] + b":" + pair[1] + b"\r\n"),
    st.sampled_from(_HOPS).flatmap(lambda name: field_lines(name, values)),
    field_lines(b"connection", _connection),
    field_lines(b"upgrade", _protocols),
    field_lines(b"te", _codings),
    field_lines(b"http2-settings", values),
    st.sampled_from([b"proxy-connection", b"proxy-authorization", b"proxy-authenticate"]).flatmap(
        lambda name: field_lines(name, values)
    ),
    field_lines(b"x-cmux-other-internal", values),
    field_lines(b"x-cmux-token", values),
    field_lines(b"x-cmux-wait", values),
    st.sampled_from([b"Set-Cookie: a=1\r\n", b"set-cookie: b=2\r\n", b"Cookie: a\r\n"]),
)


@st.composite
def chunked_bodies(draw: DrawFn) -> bytes:
    """Return a chunked body with extensions and trailers."""
    body = b""
    for content in draw(st.lists(contents.filter(bool), max_size=4)):
        spelled = draw(st.sampled_from(["%x", "%X", "%04x", "00%x"]))
        body += (spelled % len(content)).encode() + draw(extensions) + b"\r\n" + content + b"\r\n"
    body += draw(st.sampled_from([b"0", b"000"])) + draw(extensions) + b"\r\n"
    body += b"".join(draw(st.lists(_trailers, max_size=3)))
    return body + b"\r\n"


extensions = st.one_of(
    st.just(b""),
    st.sampled_from([b";a", b";a=b", b';a="b;c"', b';a="\\"\t\x80"', b";a;b=c", b";" + b"x" * 50]),
    tokens.map(lambda token: b";" + token),
)
_trailers = st.one_of(
    harmless_lines,
    field_lines(b"host", values),
    field_lines(b"content-length", values),
    field_lines(b"x-cmux-port-internal", values),
)


@st.composite
def framed(draw: DrawFn, codings: bool = True) -> tuple[bytes, bytes]:
    """Return the field line that frames a body, and the body."""
    framing = draw(st.sampled_from(["none", "length", "chunked" if codings else "length"]))
    if framing == "chunked":
        # Of white space around the coding, only spaces before it are accepted.
        name, value = draw(in_any_case(b"transfer-encoding")), draw(in_any_case(b"chunked"))
        blanks = draw(st.sampled_from([b"", b" ", b"  "]))
        return name + b":" + blanks + value + b"\r\n", draw(chunked_bodies())
    if framing == "length":
        content = draw(contents)
        digits = draw(st.sampled_from(["%d", "%03d"])) % len(content)
        return draw(field_lines(b"content-length", st.just(digits.encode()))), content
    return b"", b""


_hosts = st.sampled_from([b"a", b"a.example:80", b"[::1]:8080", b"127.0.0.1", b"_a%20"])
_methods = st.one_of(st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"get"]), tokens)
_targets = st.one_of(
    st.sampled_from([b"/", b"/a?b=c%20", b"//a/", b"http://b/", b"HTTP://b:1/x?y", b"http://b?q"]),
    byte_strings(bytes([*range(0x21, 0x23), *range(0x24, 0x7F)]), 10).map(lambda path: b"/" + path),
)


@st.composite
def requests(draw: DrawFn) -> bytes:
    """Return a whole valid request with any method except CONNECT."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    line, body = draw(framed(codings=version == b"1.1"))
    fields = [PORT, draw(field_lines(b"host", _hosts)), line]
    fields += draw(st.lists(harmless_lines, max_size=6))
    fields += draw(st.sampled_from([[], [], [b"Expect: 100-continue\r\n"]]))
    start = draw(_methods) + b" " + draw(_targets) + b" HTTP/" + version + b"\r\n"
    return start + b"".join(draw(st.permutations(fields))) + b"\r\n" + body


@st.composite
def responses(draw: DrawFn) -> bytes:
    """Return a whole valid response to GET, except interim responses."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    line, body = draw(framed(codings=version == b"1.1"))
    status = draw(st.sampled_from([b"200", b"200", b"404", b"599", b"205", b"426"]))
    reason = draw(st.sampled_from([b" OK", b" ", b"", b" N\xc3\xb6 \t"]))
    fields = [line, *draw(st.lists(harmless_lines, max_size=6))]
    start = b"HTTP/" + version + b" " + status + reason + b"\r\n"
    return start + b"".join(draw(st.permutations(fields))) + b"\r\n" + body


# Lines that frame a body, or that a lax reader could read as framing.
_FRAMING_LINES = (
    b"Content-Length: 5", b"content-length:0028", b"Content-Length: 0", b"Content-Length: 5\x00",
    b"Content-Length: 5, 5", b"Content-Length: +5", b"Content-Length : 5", b"Content-Length:",
    b"Transfer-Encoding: Chunked", b"transfer-encoding:\tchunked", b"Transfer-Encoding: chunked\t",
    b"Transfer-Encoding: identity", b"transfer-encoding:chunked", b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding: chunked,", b"Transfer-Encoding: x, chunked", b"Transfer-Encoding\x00: x",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:",
    b"Transfer-Encoding:\r\n chunked", b"A: 1\nContent-Length: 5", b"Connection: content-length",
    b"A: 1\rTransfer-Encoding: chunked", b"Content_Length: 5", b"Transfer_Encoding: chunked",
)  # fmt: skip


def contested(start: bytes) -> list[bytes]:
    """Return messages with up to two framing lines, and a body that fits each of them."""
    body = b"\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1"
    pairs = [()] + [(line,) for line in _FRAMING_LINES] + [*product(_FRAMING_LINES, repeat=2)]
    return [start + b"".join(line + b"\r\n" for line in lines) + body for lines in pairs]


CONTESTED_REQUESTS = [
    *contested(b"POST / HTTP/1.1\r\nHost: a\r\n" + PORT),
    *contested(b"POST / HTTP/1.0\r\nHost: a\r\n" + PORT),
]
CONTESTED_RESPONSES = [
    *contested(b"HTTP/1.1 200 OK\r\n"),
    *contested(b"HTTP/1.0 200 OK\r\n"),
]


@st.composite
def mutated(draw: DrawFn, source: SearchStrategy[bytes], max_changes: int = 3) -> bytes:
    """Return a message after up to `max_changes` replacements or insertions."""
    data = draw(source)
    for _ in range(draw(st.integers(0, max_changes))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 3)))
        inserted = draw(st.one_of(st.sampled_from(_INSERTIONS), st.binary(max_size=2)))
        data = data[:start] + inserted + data[end:]
    return data


@st.composite
def cut_up(draw: DrawFn, source: SearchStrategy[bytes]) -> list[bytes]:
    """Return a message that is split into pieces."""
    data = draw(source)
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=8))
    return split_at(data, cuts)
