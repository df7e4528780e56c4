"""Cases of the public corpus about lines, names, targets, versions, Host, sizes and garbage."""

import random

from tests.smuggling.probe import Probe, get, request

_GARBAGE = random.Random(42).randbytes(256)
_SWITCH = b"Upgrade: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def _host(line: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + line + b"<route>\r\n"


# 400, and a close alone is not enough.
ANSWERED_400 = [
    ("RFC9112-5.1-OBS-FOLD", "9112 5.2", get(b"X-Test: value\r\n continued\r\n")),
    ("RFC9110-5.6.2-SP-BEFORE-COLON", "9112 5", get(b"X-Test : value\r\n")),
    ("RFC9112-7.1-MISSING-HOST", "9112 3.2", _host(b"")),
    ("RFC9112-3-CR-ONLY-LINE-ENDING", "9112 2.2", b"GET / HTTP/1.1\rHost: <host>\r\n<route>\r\n"),
    ("RFC9110-5.4-DUPLICATE-HOST", "9112 3.2", get(b"Host: other.example\r\n")),
    ("COMP-DUPLICATE-HOST-SAME", "9112 3.2", get(b"Host: <host>\r\n")),
]

# 400 or a close.
REFUSED = [
    ("RFC9112-5-EMPTY-HEADER-NAME", "9112 5", get(b": empty-name\r\n")),
    ("RFC9112-3-MISSING-TARGET", "9112 3", get(start=b"GET HTTP/1.1")),
    ("RFC9112-5-INVALID-HEADER-NAME", "9112 5", get(b"Bad[Name: value\r\n")),
    ("RFC9112-5-HEADER-NO-COLON", "9112 5", get(b"NoColonHere\r\n")),
    ("COMP-WHITESPACE-BEFORE-HEADERS", "9112 2.2", get(start=b"GET / HTTP/1.1\r\n ")),
    ("COMP-HOST-WITH-USERINFO", "9112 3.2", _host(b"Host: user@<host>\r\n")),
    ("COMP-HOST-WITH-PATH", "9112 3.2", _host(b"Host: <host>/path\r\n")),
    ("COMP-HOST-EMPTY-VALUE", "9112 3.2", _host(b"Host: \r\n")),
    ("SMUG-MULTIPLE-HOST-COMMA", "9110 7.2", _host(b"Host: <host>, other.example\r\n")),
    ("COMP-ASTERISK-WITH-GET", "9112 3.2.4", get(start=b"GET * HTTP/1.1")),
    ("COMP-VERSION-MISSING-MINOR", "9112 2.3", get(start=b"GET / HTTP/1")),
    ("COMP-VERSION-LEADING-ZEROS", "9112 2.3", get(start=b"GET / HTTP/01.01")),
    ("COMP-VERSION-WHITESPACE", "9112 2.3", get(start=b"GET / HTTP/ 1.1")),
    ("COMP-VERSION-CASE", "9112 2.3", get(start=b"GET / http/1.1")),
    ("COMP-SPACE-IN-TARGET", "9112 3.2", get(start=b"GET /pa th HTTP/1.1")),
    ("MAL-NUL-IN-URL", "9112 3.2", get(start=b"GET /\x00test HTTP/1.1")),
    ("MAL-CONTROL-CHARS-HEADER", "9110 5.5", get(b"X-Test: abc\x07\x08\x0bdef\r\n")),
    ("MAL-NON-ASCII-HEADER-NAME", "9112 5", get(b"X-T\xc3\xabst: value\r\n")),
    ("MAL-NON-ASCII-URL", "9112 3.2", get(start=b"GET /\xc3\xa9t\xc3\xa9 HTTP/1.1")),
    ("MAL-URL-OVERLONG-UTF8", "3629 3", get(start=b"GET /\xc0\xaf HTTP/1.1")),
    ("MAL-NUL-IN-HEADER-VALUE", "9110 5.5", get(b"X-Test: val\x00ue\r\n")),
    ("MAL-LONG-METHOD", "9112 3", get(start=b"A" * 100_000 + b" / HTTP/1.1")),
]

# A refusal passes; accepting the request follows the RFC and warns.
EITHER = [
    (
        "RFC9112-2.2-BARE-LF-REQUEST-LINE",
        "9112 2.2",
        b"GET / HTTP/1.1\nHost: <host>\r\n<route>\r\n",
    ),
    ("RFC9112-2.2-BARE-LF-HEADER", "9112 2.2", _host(b"Host: <host>\nX-Test: value\r\n")),
    ("RFC9112-3-MULTI-SP-REQUEST-LINE", "9112 3", get(start=b"GET  / HTTP/1.1")),
    ("RFC9112-3.2-FRAGMENT-IN-TARGET", "9112 3.2", get(start=b"GET /path#frag HTTP/1.1")),
    ("COMP-REQUEST-LINE-TAB", "9112 3", get(start=b"GET\t/ HTTP/1.1")),
    ("COMP-LEADING-CRLF", "9112 2.2", b"\r\n\r\n" + get()),
    ("COMP-GET-WITH-CL-BODY", "9110 9.3.1", get(b"Content-Length: 5\r\n") + b"hello"),
    ("COMP-HTTP10-NO-HOST", "9112 3.2", b"GET / HTTP/1.0\r\n<route>\r\n"),
    (
        "COMP-DUPLICATE-CT",
        "9110 5.3",
        request(
            b"Content-Length: 5\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n",
            b"hello",
        ),
    ),
    ("MAL-URL-PERCENT-NULL", "", get(start=b"GET /%00 HTTP/1.1")),
    ("MAL-URL-PERCENT-CRLF", "", get(start=b"GET /%0d%0aX:%20a HTTP/1.1")),
]

# Requests that need no response.
GARBAGE = [
    ("MAL-BINARY-GARBAGE", "9112 2.2", _GARBAGE, ()),
    ("MAL-INCOMPLETE-REQUEST", "9112 2.2", get(b"X-Test: value")[:-2], ()),
    ("MAL-EMPTY-REQUEST", "9112 2.2", b"", ()),
    ("MAL-WHITESPACE-ONLY-LINE", "9112 2.2", b"   \r\n\r\n", ()),
    ("RFC9112-2.3-HTTP09-REQUEST", "9112 2.3", b"GET /\r\n", ()),
    ("MAL-H2-PREFACE", "9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)),
]

TOO_LARGE = [
    ("MAL-LONG-URL", "9112 3", get(start=b"GET /" + b"A" * 100_000 + b" HTTP/1.1")),
    ("MAL-LONG-HEADER-VALUE", "9110 5.4", get(b"X-Big: " + b"B" * 100_000 + b"\r\n")),
    ("MAL-LONG-HEADER-NAME", "9110 5.4", get(b"A" * 100_000 + b": val\r\n")),
    ("MAL-MANY-HEADERS", "6585 5", get(b"".join(b"X-H-%d: value\r\n" % n for n in range(10_000)))),
]

OTHERS = [
    Probe("COMP-BASELINE", "9112 3", (get(),), (200,), may_close=False),
    Probe(
        "COMP-OPTIONS-STAR",
        "9112 3.2.4",
        (get(start=b"OPTIONS * HTTP/1.1"),),
        (200,),
        may_close=False,
    ),
    Probe(
        "COMP-LONG-URL-OK", "9112 3", (get(start=b"GET /" + b"a" * 7900 + b" HTTP/1.1"),), (200,)
    ),
    Probe("COMP-HEAD-NO-BODY", "9110 9.3.2", (get(start=b"HEAD / HTTP/1.1"),), (200,), content=b""),
    Probe("RFC9112-2.3-INVALID-VERSION", "9112 2.3", (get(start=b"GET / HTTP/9.9"),), (400, 505)),
    Probe("COMP-HTTP12-VERSION", "9112 2.3", (get(start=b"GET / HTTP/1.2"),), (), (200, 505)),
    Probe("COMP-EXPECT-UNKNOWN", "9110 10.1.1", (get(b"Expect: 200-ok\r\n"),), (417,), (200,)),
    Probe(
        "COMP-CONNECTION-CLOSE",
        "9112 9.6",
        (get(b"Connection: close\r\n"),),
        (200,),
        may_close=False,
        one_response=True,
    ),
    Probe(
        "COMP-HTTP10-DEFAULT-CLOSE",
        "9112 9.3",
        (get(start=b"GET / HTTP/1.0"),),
        (200,),
        may_close=False,
        one_response=True,
    ),
    # The upstream grants every upgrade that it receives, so an invalid one must not be forwarded.
    Probe("COMP-UPGRADE-MISSING-CONN", "9110 7.8", (get(_SWITCH),), (200, 400)),
    Probe(
        "COMP-UPGRADE-HTTP10",
        "9110 7.8",
        (get(b"Connection: upgrade\r\n" + _SWITCH, start=b"GET / HTTP/1.0"),),
        (200, 400),
    ),
    Probe(
        "COMP-NO-1XX-HTTP10",
        "9110 15.2",
        (request(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello", b"POST / HTTP/1.0"),),
        (200, 400, 417),
    ),
]

SYNTAX = [
    *(Probe(name, rfc, (data,), may_close=False) for name, rfc, data in ANSWERED_400),
    *(Probe(name, rfc, (data,)) for name, rfc, data in REFUSED),
    *(Probe(name, rfc, (data,), warns=(200,)) for name, rfc, data in EITHER),
    *(
        Probe(name, rfc, (data,), (400, *others), may_wait=True)
        for name, rfc, data, others in GARBAGE
    ),
    *(Probe(name, rfc, (data,), (400, 414, 431)) for name, rfc, data in TOO_LARGE),
    *OTHERS,
]
