"""Cases of the public corpus about framing: lengths, codings, chunks, hidden requests."""

from tests.smuggling.probe import Probe, get, request

_CODING = b"Transfer-Encoding: chunked\r\n"
_FIVE = b"Content-Length: 5\r\n"
_NEXT = get()
_END = b"0\r\n\r\n"


def _length(value: bytes, body: bytes = b"hello") -> bytes:
    return request(b"Content-Length: " + value + b"\r\n", body)


def _coding(line: bytes) -> bytes:
    return request(line + b"\r\n" + _FIVE, b"hello")


def _chunks(body: bytes) -> bytes:
    return request(_CODING, body)


def _hiding(fields: bytes, method: bytes = b"GET") -> bytes:
    hidden = method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
    body = _END + hidden
    return request(fields.replace(b"<n>", b"%d" % len(body)), body)


def _chunk_prefix() -> bytes:
    hidden = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n"
    size = b"%x\r\n" % len(hidden)
    return request(_CODING + b"Content-Length: %d\r\n" % len(size), size + hidden + b"\r\n" + _END)


def _two_lengths() -> bytes:
    body = b"PING" + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    return request(b"Content-Length: 4\r\nContent-Length: %d\r\n" % len(body), body)


# Refused by 400 or a close only.
REFUSED = [
    ("SMUG-DUPLICATE-CL", "9110 8.6", _length(b"5\r\nContent-Length: 10", b"helloworld")),
    ("SMUG-TE-SP-BEFORE-COLON", "9112 5", _coding(b"Transfer-Encoding : chunked")),
    ("SMUG-CL-NEGATIVE", "9110 8.6", _length(b"-1", b"")),
    ("SMUG-CL-COMMA-DIFFERENT", "9110 8.6", _length(b"5, 10")),
    (
        "SMUG-TE-NOT-FINAL-CHUNKED",
        "9112 6.3",
        request(b"Transfer-Encoding: chunked, gzip\r\n", _END),
    ),
    (
        "SMUG-TE-HTTP10",
        "9112 6.1",
        request(_CODING + _FIVE, b"hello", start=b"POST / HTTP/1.0"),
    ),
    ("SMUG-CHUNK-BARE-SEMICOLON", "9112 7.1.1", _chunks(b"5;\r\nhello\r\n" + _END)),
    ("SMUG-CHUNK-EXT-INVALID-TOKEN", "9112 7.1.1", _chunks(b"5;bad[=x\r\nhello\r\n" + _END)),
    ("SMUG-BARE-CR-HEADER-VALUE", "9112 2.2", request(_FIVE + b"X-Test: val\rue\r\n", b"hello")),
    ("SMUG-CL-OCTAL", "9110 8.6", _length(b"0o5")),
    ("SMUG-CHUNK-UNDERSCORE", "9112 7.1", _chunks(b"1_0\r\nhello world!!!!!\r\n" + _END)),
    ("SMUG-TE-EMPTY-VALUE", "9112 6.1", _coding(b"Transfer-Encoding: ")),
    (
        "SMUG-TE-DUPLICATE-HEADERS",
        "9112 6.1",
        _coding(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    ),
    ("SMUG-CHUNK-HEX-PREFIX", "9112 7.1", _chunks(b"0x5\r\nhello\r\n" + _END)),
    ("SMUG-CHUNK-SIZE-PLUS", "9112 7.1", _chunks(b"+5\r\nhello\r\n" + _END)),
    ("SMUG-CHUNK-SIZE-TRAILING-OWS", "9112 7.1", _chunks(b"5 \r\nhello\r\n" + _END)),
    ("SMUG-CL-HEX-PREFIX", "9110 8.6", _length(b"0x5")),
    ("SMUG-CL-INTERNAL-SPACE", "9110 8.6", _length(b"1 0", b"hello12345")),
    ("SMUG-CHUNK-LEADING-SP", "9112 7.1", _chunks(b" 5\r\nhello\r\n" + _END)),
    ("SMUG-CHUNK-MISSING-TRAILING-CRLF", "9112 7.1", _chunks(b"5\r\nhello" + _END)),
    ("SMUG-CHUNK-SPILL", "9112 7.1", _chunks(b"5\r\nhello!!\r\n" + _END)),
    ("SMUG-CHUNK-EXT-CTRL", "9112 7.1.1", _chunks(b"5;\x00ext\r\nhello\r\n" + _END)),
    ("SMUG-CHUNK-EXT-CR", "9112 7.1.1", _chunks(b"5;a\rX\r\nhello\r\n" + _END)),
    ("SMUG-TE-VTAB", "9112 6.1", _coding(b"Transfer-Encoding: \x0bchunked")),
    ("SMUG-TE-FORMFEED", "9112 6.1", _coding(b"Transfer-Encoding: \x0cchunked")),
    ("SMUG-TE-NULL", "9112 6.1", _coding(b"Transfer-Encoding: chunked\x00")),
    ("SMUG-CHUNK-NEGATIVE", "9112 7.1", _chunks(b"-1\r\nhello\r\n" + _END)),
    ("SMUG-CL-UNDERSCORE", "9110 8.6", _length(b"1_0", b"helloworld")),
    ("SMUG-CL-NEGATIVE-ZERO", "9110 8.6", _length(b"-0", b"")),
    ("SMUG-CHUNK-BARE-CR-TERM", "9112 2.2", _chunks(b"5\rhello\r\n" + _END)),
    ("RFC9112-6.1-CL-NON-NUMERIC", "9112 6.1", _length(b"abc", b"")),
    ("RFC9112-6.1-CL-PLUS-SIGN", "9112 6.1", _length(b"+5")),
    ("MAL-CL-OVERFLOW", "9110 8.6", _length(b"99999999999999999999", b"")),
    ("MAL-CL-EMPTY", "9110 8.6", _length(b"", b"")),
    ("MAL-CHUNK-SIZE-OVERFLOW", "9112 7.1", _chunks(b"FFFFFFFFFFFFFFFF0\r\nhello\r\n" + _END)),
    ("NORM-SP-BEFORE-COLON-CL", "9112 5", _length(b"11\r\nContent-Length : 5", b"hello world")),
    ("NORM-TAB-IN-NAME", "9112 5", _length(b"11\r\nContent\tLength: 99", b"hello world")),
]

# The same, or refused by 501 (or 431).
REFUSED_OTHERWISE = [
    ("SMUG-TE-XCHUNKED", "9112 6.1", _coding(b"Transfer-Encoding: xchunked"), 501),
    ("SMUG-TE-IDENTITY", "9112 7", _coding(b"Transfer-Encoding: identity"), 501),
    ("COMP-UNKNOWN-TE-501", "9112 6.1", request(b"Transfer-Encoding: gzip\r\n"), 501),
    (
        "MAL-CHUNK-EXT-64K",
        "9112 7.1.1",
        _chunks(b"5;ext=" + b"A" * 65536 + b"\r\nhello\r\n" + _END),
        431,
    ),
]

# A refusal passes; an accepted request that follows the RFC warns.
EITHER = [
    (
        "SMUG-CL-TE-BOTH",
        "9112 6.1",
        request(b"Content-Length: 25\r\n" + _CODING, b"D\r\nhello-bananas\r\n" + _END),
    ),
    ("SMUG-CL-LEADING-ZEROS", "9110 8.6", _length(b"005")),
    ("SMUG-CL-TRAILING-SPACE", "9110 5.5", _length(b"5 ")),
    ("SMUG-TE-DOUBLE-CHUNKED", "9112 6.1", _coding(b"Transfer-Encoding: chunked, chunked")),
    ("SMUG-CL-EXTRA-LEADING-SP", "9110 5.5", _length(b" 5")),
    ("SMUG-TE-CASE-MISMATCH", "9112 6.1", _coding(b"Transfer-Encoding: Chunked")),
    ("SMUG-TE-LEADING-COMMA", "9110 5.6.1", _coding(b"Transfer-Encoding: , chunked")),
    ("SMUG-CHUNK-EXT-LF", "9112 7.1.1", _chunks(b"5;\nhello\r\n" + _END)),
    ("SMUG-CHUNK-LF-TERM", "9112 7.1", _chunks(b"5\r\nhello\n" + _END)),
    ("SMUG-CHUNK-LF-TRAILER", "9112 7.1", _chunks(b"5\r\nhello\r\n0\r\n\n")),
    ("SMUG-CL-DOUBLE-ZERO", "9110 8.6", _length(b"00", b"")),
    ("SMUG-CL-LEADING-ZEROS-OCTAL", "9110 8.6", _length(b"0200", b"A" * 200)),
    ("SMUG-TE-TRAILING-COMMA", "9110 5.6.1", _coding(b"Transfer-Encoding: chunked,")),
    ("SMUG-CLTE-PIPELINE", "9112 6.1", request(b"Content-Length: 4\r\n" + _CODING, _END)),
    ("SMUG-TECL-PIPELINE", "9112 6.1", request(_CODING + b"Content-Length: 30\r\n", _END)),
    ("MAL-CL-TAB-BEFORE-VALUE", "9110 5.5", request(b"Content-Length:\t5\r\n", b"hello")),
    ("NORM-UNDERSCORE-CL", "", _length(b"11\r\nContent_Length: 99", b"hello world")),
    (
        "NORM-UNDERSCORE-TE",
        "",
        request(b"Transfer_Encoding: chunked\r\n", b"B\r\nhello world\r\n" + _END),
    ),
]

# At most one response, and the connection closes: the hidden bytes are never a request.
_FOLDED = b"Transfer-Encoding:\r\n chunked\r\n"
_N = b"Content-Length: <n>\r\n"
ONE_ANSWER: list[tuple[str, str, tuple[bytes, ...]]] = [
    ("SMUG-TE-TRAILING-SPACE", "9112 6.1", (_coding(b"Transfer-Encoding: chunked "),)),
    ("SMUG-TE-OBS-FOLD", "9112 5.2", (request(_FOLDED + _FIVE, b"hello"),)),
    ("SMUG-CLTE-CONN-CLOSE", "9112 6.1", (request(_FIVE + _CODING, _END), _NEXT)),
    ("SMUG-TECL-CONN-CLOSE", "9112 6.1", (request(_CODING + _FIVE, _END), _NEXT)),
    (
        "SMUG-CLTE-DESYNC",
        "9112 6.1",
        (request(b"Content-Length: 6\r\n" + _CODING, _END + b"X"), _NEXT),
    ),
    (
        "SMUG-TECL-DESYNC",
        "9112 6.1",
        (request(_CODING + b"Content-Length: 30\r\n", _END + b"X"), _NEXT),
    ),
    ("SMUG-CHUNK-INVALID-SIZE-DESYNC", "9112 7.1", (_chunks(b"+0\r\n\r\nX"), _NEXT)),
    (
        "SMUG-OPTIONS-TE-OBS-FOLD",
        "9112 5.2",
        (request(_FOLDED + _FIVE, b"hello", start=b"OPTIONS / HTTP/1.1"), _NEXT),
    ),
    ("SMUG-CLTE-SMUGGLED-GET", "9112 6.1", (_hiding(_N + _CODING),)),
    ("SMUG-CLTE-SMUGGLED-HEAD", "9112 6.1", (_hiding(_N + _CODING, b"HEAD"),)),
    (
        "SMUG-CLTE-SMUGGLED-GET-CL-PLUS",
        "9112 6.1",
        (_hiding(b"Content-Length: +<n>\r\n" + _CODING),),
    ),
    (
        "SMUG-CLTE-SMUGGLED-GET-CL-NON-NUMERIC",
        "9112 6.1",
        (_hiding(b"Content-Length: <n>x\r\n" + _CODING),),
    ),
    ("SMUG-CLTE-SMUGGLED-GET-TE-OBS-FOLD", "9112 5.2", (_hiding(_FOLDED + _N),)),
    (
        "SMUG-CLTE-SMUGGLED-GET-TE-TRAILING-SPACE",
        "9112 6.1",
        (_hiding(_N + b"Transfer-Encoding: chunked \r\n"),),
    ),
    (
        "SMUG-CLTE-SMUGGLED-GET-TE-LEADING-COMMA",
        "9112 6.1",
        (_hiding(_N + b"Transfer-Encoding: , chunked\r\n"),),
    ),
    (
        "SMUG-CLTE-SMUGGLED-GET-TE-CASE-MISMATCH",
        "9112 6.1",
        (_hiding(_N + b"Transfer-Encoding: Chunked\r\n"),),
    ),
    (
        "SMUG-TE-DUPLICATE-HEADERS-SMUGGLED-GET",
        "9112 6.1",
        (_hiding(_CODING + b"Transfer-Encoding: identity\r\n" + _N),),
    ),
    ("SMUG-TECL-SMUGGLED-GET", "9112 6.1", (_chunk_prefix(),)),
    ("SMUG-DUPLICATE-CL-SMUGGLED-GET", "9110 8.6", (_two_lengths(),)),
]

# Bodies that have to arrive.
TAKEN = [
    ("COMP-POST-CL-BODY", "9112 6.2", _length(b"5"), b"hello"),
    ("COMP-POST-CL-ZERO", "9112 6.2", _length(b"0", b""), b""),
    ("COMP-POST-NO-CL-NO-TE", "9112 6.3", request(), b""),
    ("COMP-CHUNKED-BODY", "9112 7.1", _chunks(b"5\r\nhello\r\n" + _END), b"hello"),
    (
        "COMP-CHUNKED-MULTI",
        "9112 7.1",
        _chunks(b"5\r\nhello\r\n6\r\n world\r\n" + _END),
        b"hello world",
    ),
    ("COMP-CHUNKED-EMPTY", "9112 7.1", _chunks(_END), b""),
    ("COMP-CHUNKED-EXTENSION", "9112 7.1.1", _chunks(b"5;ext=value\r\nhello\r\n" + _END), b"hello"),
    (
        "COMP-CHUNKED-TRAILER-VALID",
        "9112 7.1.2",
        _chunks(b"5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n"),
        b"hello",
    ),
    (
        "COMP-CHUNKED-HEX-UPPERCASE",
        "9112 7.1",
        _chunks(b"A\r\nhelloworld\r\n" + _END),
        b"helloworld",
    ),
]

# Bodies that do not end: no response may treat them as complete.
UNFINISHED = [
    ("COMP-POST-CL-UNDERSEND", "9112 6.2", _length(b"10")),
    ("COMP-CHUNKED-NO-FINAL", "9112 7.1", _chunks(b"5\r\nhello\r\n")),
    ("MAL-POST-CL-HUGE-NO-BODY", "9112 6.2", _length(b"999999999", b"")),
]

FRAMING = [
    *(Probe(name, rfc, (data,)) for name, rfc, data in REFUSED),
    *(Probe(name, rfc, (data,), (400, other)) for name, rfc, data, other in REFUSED_OTHERWISE),
    *(Probe(name, rfc, (data,), warns=(200,)) for name, rfc, data in EITHER),
    *(Probe(name, rfc, steps, one_response=True) for name, rfc, steps in ONE_ANSWER),
    *(
        Probe(name, rfc, (data,), (200,), may_close=False, content=content)
        for name, rfc, data, content in TAKEN
    ),
    *(Probe(name, rfc, (data,), may_wait=True) for name, rfc, data in UNFINISHED),
]
