"""The known attacks as bytes; they are used with sockets and without.

An attack contains bytes that one reader reads as a body, and another as a second request.
"""

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

# Codings that some readers read as chunked, and others ignore.
CODINGS = {
    "upper case name, two values": b"TRANSFER-ENCODING: x, chunked\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "tab": b"Transfer-Encoding:\tchunked\r\n",
    "tab after": b"Transfer-Encoding: chunked\t\r\n",
    "blank after": b"Transfer-Encoding: chunked \r\n",
    "form feed": b"Transfer-Encoding:\x0cchunked\r\n",
    "no-break space": b"Transfer-Encoding: \xa0chunked\r\n",
    "NUL after": b"Transfer-Encoding: chunked\x00\r\n",
    "CR after": b"Transfer-Encoding: chunked\r\r\n",
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

# Lengths that some readers read as a number, and others ignore or read as another number.
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
    "size with quotes": b'"0"\r\n\r\n' + HIDDEN,
    "no size": b"\r\n\r\n" + HIDDEN,
    "size after a semicolon": b";0\r\n\r\n" + HIDDEN,
    "extension without a name": b"0;\r\n\r\n" + HIDDEN,
    "extension with a quoted LF": b'0;a="\n"\r\n\r\n' + HIDDEN,
    "extension with a quoted CRLF": b'0;a="\r\n\r\n' + HIDDEN + b'"\r\n\r\n',
    "extension with a NUL": b"0;a\x00\r\n\r\n" + HIDDEN,
    "last line ends in CR": b"0\r\n\r\r" + HIDDEN,
    "trailer ends in LF": b"0\r\nA: 1\n\r\n" + HIDDEN,
    "trailer is folded": b"0\r\nA: 1\r\n b\r\n\r\n" + HIDDEN,
    "trailer with a blank before its colon": b"0\r\nContent-Length : 5\r\n\r\n" + HIDDEN,
    "trailer without colon": b"0\r\n" + HIDDEN,
}

LINES = {
    "Host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
    "Host of two": b"GET / HTTP/1.1\r\nHost: a, b\r\n",
    "Host with user": b"GET / HTTP/1.1\r\nHost: a@b\r\n",
    "Host after LF": b"GET / HTTP/1.1\r\nA: 1\nHost: b\r\nHost: a\r\n",
    "two versions": b"GET / HTTP/1.1 HTTP/1.0\r\nHost: a\r\n",
    "no version": b"GET /\r\nHost: a\r\n",
    "tab for a blank": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n",
    "line in the target": b"GET /\nX: HTTP/1.1\r\nHost: a\r\n",
    "authority of two": b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n",
    "backslash": b"GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n",
    "fragment": b"GET /#/hidden HTTP/1.1\r\nHost: a\r\n",
    "byte above 0x7E": b"GET /\xff HTTP/1.1\r\nHost: a\r\n",
    "line end in UTF-8": "GET /\u010d\u010a HTTP/1.1\r\nHost: a\r\n".encode(),
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n",
    "CR in the target": b"GET /\rX: 1 HTTP/1.1\r\nHost: a\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: a\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: a\r\n",
    "version with a sign": b"GET / HTTP/1.+1\r\nHost: a\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n",
    "Host with a query": b"GET / HTTP/1.1\r\nHost: a?b\r\n",
    "Host with nothing": b"GET / HTTP/1.1\r\nHost:\r\n",
    "Host with two ports": b"GET / HTTP/1.1\r\nHost: a:1:2\r\n",
    "no Host": b"GET / HTTP/1.1\r\n",
    "Host in two lines": b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n",
    "Host with a blank before its colon": b"GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\n",
    "absolute form and two Hosts": b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
    "absolute form of two": b"GET http://a,b/ HTTP/1.1\r\nHost: a\r\n",
    "absolute form of another scheme": b"GET file://a/ HTTP/1.1\r\nHost: a\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n",
}

# Names that some readers read as the name of a framing field.
NAMES = {
    "NUL in a name": b"Transfer\x00-Encoding: chunked\r\n",
    "tab in a name": b"Content\tLength: 0\r\n",
    "blank in a name": b"Content Length: 0\r\n",
    "control byte before a name": b"\x01Transfer-Encoding: chunked\r\n",
    "byte order mark": b"\xef\xbb\xbfTransfer-Encoding: chunked\r\n",
    "soft hyphen": b"Transfer\xadEncoding: chunked\r\n",
    "long s": "Tran\u017ffer-Encoding: chunked\r\n".encode(),
    "colon first": b":Transfer-Encoding: chunked\r\n",
    "no name": b": chunked\r\n",
    "no colon": b"Transfer-Encoding chunked\r\n",
    "quoted name": b'"Transfer-Encoding": chunked\r\n',
    "bare LF before a name": b"A: 1\n\nGET /hidden HTTP/1.1\r\n",
    "bare CR before a name": b"A: 1\r\rGET /hidden HTTP/1.1\r\n",
}

NOMINATED = ["Content-Length", "Transfer-Encoding", "Host", "X-Cmux-Port-Internal", "x-cmux-a"]


# Ambiguous responses, as heads without their blank line.
AMBIGUOUS_RESPONSES = {
    "CL.CL": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + LENGTH,
    "CL.CL beside TE": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + LENGTH + CODING,
    "CL.CL in a list": b"HTTP/1.1 200 OK\r\nContent-Length: 0, 5\r\n",
    "TE.TE": b"HTTP/1.1 200 OK\r\n" + CODING + CODING,
    "length after a bare CR": b"HTTP/1.1 200 OK\r\nA: 1\r" + LENGTH,
    "folded coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n" + LENGTH,
    "folded length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n 5\r\n",
    "folded before the first field": b"HTTP/1.1 200 OK\r\n " + LENGTH,
    "blank before the colon": b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n" + LENGTH,
    "an unrequested switch": b"HTTP/1.1 101 X\r\nUpgrade: a\r\nConnection: upgrade\r\n",
}

# Responses of services that an RFC gives one reading, and the forwarded responses, both without the
# blank line.
_OK = b"HTTP/1.1 200 OK\r\n"
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
NORMALIZED = {
    "CL.TE": (_OK + LENGTH + CODING, _OK + CODING),
    "TE.CL": (_OK + CODING + LENGTH, _OK + CODING),
    "CL.CL.TE": (_OK + LENGTH + CODING + LENGTH, _OK + CODING),
    "coding of HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + CODING, _OK + CODING),
    "CL.CL same": (_OK + LENGTH + LENGTH, _OK + LENGTH),
    "CL.CL same, in a list": (_OK + LENGTH[:-2] + b", " + LENGTH[16:], _OK + LENGTH),
    "length after a bare LF": (_OK + b"A: 1\n" + LENGTH, _OK + b"A: 1\r\n" + LENGTH),
    "length in a fold": (_OK + b"A: 1\r\n " + LENGTH + CODING, _OK + b"A: 1 " + LENGTH + CODING),
    "length nominated away": (_OK + b"Connection: content-length\r\n" + LENGTH, _OK + LENGTH),
    "no list in Connection": (_OK + b"Connection: a b; c=d\r\n" + LENGTH, _OK + LENGTH),
    "204 with a length": (_NO_CONTENT + LENGTH, _NO_CONTENT),
    "204 with a coding": (_NO_CONTENT + CODING, _NO_CONTENT),
    "204 with both": (_NO_CONTENT + LENGTH + CODING, _NO_CONTENT),
    "204 of HTTP/1.0 with a coding": (b"HTTP/1.0 204 No Content\r\n" + CODING, _NO_CONTENT),
    "a later version": (b"HTTP/1.2 200 OK\r\n" + LENGTH, _OK + LENGTH),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH, b"HTTP/1.1 200 \r\n" + LENGTH),
}
