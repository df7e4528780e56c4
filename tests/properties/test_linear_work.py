"""Work grows with the number of bytes, not of reads; the uses of patterns are counted."""

import re
from typing import Any

import pytest

from cmux_proxy import _build
from cmux_proxy.http1 import (
    chunked_body,
    explain,
    field_lines,
    hop_by_hop,
    normalize,
    response_body,
)
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.response_body import ResponseChunkedBody
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from tests.helpers.fakes import World
from tests.helpers.feeding import byte_by_byte
from tests.helpers.script import get, head

pytestmark = pytest.mark.skipif(_build.COMPILED, reason="counts the patterns of the pure build")

SIZE = 64 * 1024
LIMITS = HeadLimits(SIZE, 2 * SIZE, SIZE)
RULES = ChunkRules(SIZE, SIZE, SIZE, b"x-cmux-")


class Work:
    """How often patterns were used, and how many bytes they read."""

    def __init__(self) -> None:
        self.calls = 0
        self.bytes = 0

    def watch(self, monkeypatch: pytest.MonkeyPatch, module: object, *names: str) -> None:
        """Count the uses of the patterns with these names in a module."""
        for name in names:
            monkeypatch.setattr(module, name, Watched(getattr(module, name), self))


class Watched:
    """A pattern that counts its uses."""

    def __init__(self, pattern: re.Pattern[bytes], work: Work) -> None:
        self.pattern = pattern
        self.work = work

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.pattern, name)

        def counted(data: bytes, start: int = 0, *end: int) -> object:
            result = method(data, start, *end)
            self.work.calls += 1
            is_match = isinstance(result, re.Match)
            self.work.bytes += (result.end() if is_match else len(data)) - start
            return result

        return counted


class Searched(bytes):
    """Bytes that count how many bytes are searched."""

    searched = 0

    def find(self, part: Any, start: Any = 0, end: Any = None, /) -> int:
        position = super().find(part, start) if end is None else super().find(part, start, end)
        Searched.searched += (len(self) if position < 0 else position + len(part)) - start
        return position


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Count the work of all patterns that read bytes of a peer.

    Private names are used, because no public function shows how often a pattern is used.
    """
    watched = Work()
    watched.watch(monkeypatch, field_lines, "_REQUEST_LINE", "_STATUS_LINE", "_FIELD")
    watched.watch(monkeypatch, explain, "_FIRST_BYTE", "BARE_LF", "_REQUEST_LINE", "_STATUS_LINE")
    watched.watch(monkeypatch, hop_by_hop, "NAMED_FIELD_LINE")
    watched.watch(monkeypatch, chunked_body, "CHUNK_LINE", "CHUNK_LINE_START")
    watched.watch(monkeypatch, explain, "ANY_STATUS_LINE")
    watched.watch(monkeypatch, normalize, "_BLANK_LINE", "ANY_STATUS_LINE", "CONTENT_LENGTH")
    watched.watch(monkeypatch, normalize, "TOKEN_ONLY")
    watched.watch(monkeypatch, response_body, "CHUNK_LINE", "ANY_CHUNK_LINE")
    watched.watch(monkeypatch, response_body, "ANY_CHUNK_LINE_START")
    monkeypatch.setattr(Searched, "searched", 0)
    return watched


def numbered(line: bytes, size: int = SIZE) -> bytes:
    """Return different lines with that total size, so that none of them is cached."""
    lines = (line[:-2] + b"%06d\r\n" % number for number in range(size // (len(line) + 6)))
    return b"".join(lines)


def test_a_request_head_fed_byte_by_byte_is_read_once(work: Work) -> None:
    scanner = RequestScanner(LIMITS, ReservedFields(b"x-cmux-", b"-internal"))
    section = b"Host: a\r\n" + numbered(b"Accept: text/html\r\n")
    data = b"GET / HTTP/1.1\r\n" + section + b"\r\n"
    for size in range(1, len(data)):
        assert scanner.scan(Searched(data[:size]), size - 1) is None
    assert scanner.scan(Searched(data), len(data) - 1) is not None
    # Each byte is read when it arrives, with a few bytes next to it, and once at the end.
    assert work.calls <= len(data) + data.count(b"\n") + 20
    assert work.bytes <= 5 * len(data)
    # The end of the start line is searched each time; it has 16 bytes here, and its own limit.
    assert Searched.searched <= len(data) * (2 * 16 + 5)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_a_response_head_fed_byte_by_byte_is_read_once(end: bytes, work: Work) -> None:
    scanner = ResponseScanner(LIMITS)
    data = b"HTTP/1.1 200 OK\r\n" + numbered(b"Set-Cookie: a=b\r\n", SIZE // 2) + b"\r\n"
    data = data.replace(b"\r\n", end)
    for size in range(1, len(data)):
        assert scanner.scan(data[:size], size - 1) is None
    assert scanner.scan(data, len(data) - 1) is not None
    assert work.calls <= len(data) + data.count(b"\n") + 20
    assert work.bytes <= 5 * len(data)


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: a, b c\r\n",
        b"Connection: a\r\n",
        b"Content-Length: 5, 5\r\nA: b\r\n",
        b"A: b\r\n c\r\n",
        b" c\r\n",
        b"A:\n",
        b"TE: b\r\n" + b" " * 999 + b"\r\n",
    ],
)
def test_a_head_is_normalized_in_a_few_passes(line: bytes, work: Work) -> None:
    section = b"A: b\r\n" + line * (SIZE // 2 // len(line)) + b"Transfer-Encoding: chunked\r\n"
    data = b"HTTP/1.1 200 OK\r\nConnection: a b\r\n" + section + b"\r\n"
    assert ResponseScanner(LIMITS).scan(data, 0) is not None
    assert work.calls <= data.count(b"\n") + data.count(b",") + 20
    assert work.bytes <= 4 * len(data)


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: a, b\r\n",
        b"TE: x\r\n",
        b"X-Cmux-A-Internal: \r\n",
        b"X-Cmux-A: \r\n",
        b"A:\r\n",
    ],
)
def test_a_whole_head_is_read_in_one_pass(line: bytes, work: Work) -> None:
    scanner = RequestScanner(LIMITS, ReservedFields(b"x-cmux-", b"-internal"))
    section = numbered(line, SIZE // 8)
    data = b"GET / HTTP/1.1\r\n" + section + b"\r\n"
    number = section.count(b"\n")
    assert scanner.scan(data, 0) is not None
    assert work.calls <= number + 3
    # Twice if Connection nominates fields: the second pass finds them.
    assert work.bytes <= 2 * len(data) + 8 * number


@pytest.mark.parametrize(
    "line", [b"Te", b"Transfer-Encodin", b"X-Cmux-", b"Connection\x00", b"Host :", b"A: \x7f"]
)
def test_a_refused_head_is_read_in_one_pass(line: bytes, work: Work) -> None:
    scanner = RequestScanner(LIMITS, ReservedFields(b"x-cmux-", b"-internal"))
    data = b"GET / HTTP/1.1\r\n" + numbered(b"Te-X: 1\r\n") + line + b"\r\n\r\n"
    with pytest.raises(BadMessage):
        scanner.scan(data, 0)
    assert work.bytes <= 2 * len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"5;" + b"a" * (SIZE - 10) + b"\r\nhello\r\n0\r\n\r\n",
        b'5;a="' + b"\\a" * (SIZE // 2 - 10) + b'"\r\nhello\r\n0\r\n\r\n',
        b"1\r\nx\r\n" * (SIZE // 6) + b"0\r\n\r\n",
        b"1;a\r\nx\r\n" * (SIZE // 16) + b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"A: 1\r\n" * (SIZE // 8) + b"\r\n",
        b"5\r\nhello\r\n0\r\nA:" + b" " * (SIZE - 100) + b"\r\n\r\n",
    ],
    ids=["long extension", "quoted extension", "small chunks", "extensions", "trailers", "trailer"],
)
def test_a_chunked_body_fed_byte_by_byte_is_read_a_few_times(data: bytes, work: Work) -> None:
    body = ChunkedBody(RULES, unwrap=False)
    for piece in byte_by_byte(data):
        body.feed(piece, 0)
    assert body.is_done
    # The first 32 bytes of a size line are checked one by one.
    assert work.calls <= 2 * len(data)
    assert work.bytes <= 6 * len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"5" + b" " * (SIZE - 10) + b"\r\nhello\r\n0\r\n\r\n",
        b"0" * (SIZE - 10) + b"5\r\nhello\r\n0\r\n\r\n",
        b"5" + b" " * (SIZE // 2) + b";" + b" " * (SIZE // 3) + b"a\r\nhello\r\n0\r\n\r\n",
        b"1 \r\nx\r\n" * (SIZE // 6) + b"0\r\n\r\n",
    ],
    ids=["blanks", "zeros", "blanks around an extension", "small chunks"],
)
def test_a_loose_chunked_body_fed_byte_by_byte_is_read_a_few_times(data: bytes, work: Work) -> None:
    body = ResponseChunkedBody(RULES, unwrap=False)
    for piece in byte_by_byte(data):
        body.feed(piece, 0)
    assert body.is_done
    assert work.calls <= 2 * len(data)
    assert work.bytes <= 6 * len(data)


def test_loose_chunks_in_one_read_are_not_copied_for_each_other(work: Work) -> None:
    body = ResponseChunkedBody(RULES, unwrap=False)
    loose = b"1 \r\nx\r\n" * (SIZE // 6) + b"0\r\n\r\n"
    assert body.feed(loose, 0) == loose.replace(b" ", b"")
    # A strict match fails at the first blank; a loose one reads the line.
    assert work.calls <= 2 * (SIZE // 6) + 1


def test_a_chunked_body_fed_whole_is_read_once(work: Work) -> None:
    data = b"1;a=b\r\nx\r\n" * (SIZE // 16) + b"0\r\n\r\n"
    body = ChunkedBody(RULES, unwrap=False)
    assert body.feed(data, 0) is data
    assert work.calls == SIZE // 16 + 1
    assert work.bytes <= len(data)


@pytest.mark.parametrize("interim", [b"HTTP/1.1 103 X\r\n\r\n", b"HTTP/1.1 103 X\n\n"])
def test_many_interim_responses_in_one_read_are_not_copied_for_each_other(
    interim: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = 0
    scan = ResponseScanner.scan

    def counted(self: ResponseScanner, data: bytes, searched: int) -> object:
        nonlocal scanned
        scanned += len(data)
        return scan(self, data, searched)

    monkeypatch.setattr(ResponseScanner, "scan", counted)
    world = World()
    client, upstream = world.ask(get().replace(b"<port>", b"80"))
    final = head("HTTP/1.1 200 OK", f"Content-Length: {SIZE}") + b"x" * SIZE
    data = interim * 5000 + final
    upstream.arrives(data)
    assert client.got == head("HTTP/1.1 103 X") * 5000 + final
    assert len(world.services.pool) == (0 if b"\n\n" in interim else 1)
    # Each is found in a small piece; only the first and the final one are given all bytes.
    assert scanned <= 5000 * 1024 + 2 * len(data)
