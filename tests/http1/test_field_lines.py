"""The lines of a head: which are valid, and which are of interest."""

import pytest

from cmux_proxy.http1.field_lines import (
    MAX_CACHED_LINES,
    FieldLines,
    field_values,
    find_head_end,
    split_request_head,
    split_response_head,
)

KINDS = {b"host": 1, b"te": 2, b"content-length": 3}


def test_the_end_of_a_head_is_where_its_first_blank_line_ends() -> None:
    data = b"G / HTTP/1.1\r\nA: \r\r\n\r\nB\r\n\r\n"
    assert find_head_end(data, 0) == 22
    assert [find_head_end(data[:size], 0) for size in range(22)] == [0] * 22
    assert [find_head_end(data[:22], searched) for searched in range(22)] == [22] * 22
    assert find_head_end(data, 22) == len(data)
    assert find_head_end(data, len(data) - 1) == len(data)
    assert find_head_end(b"", 0) == 0
    assert find_head_end(b"\r\n\r\n", 0) == 4


def test_a_request_line_is_split() -> None:
    line = b'PATCH /a?b=%20|"c HTTP/1.1\r\nHost: a\r\n'
    start = line.index(b"\n") + 1
    assert split_request_head(line, start + 6) == (b"PATCH", 1, start, b"Host: ")
    assert split_request_head(line, 1000) == (b"PATCH", 1, start, b"Host: a\r\n")
    assert split_request_head(b"G * HTTP/1.0\r\n", 3) == (b"G", 0, 14, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"", b" ", b"GET", b"GET ", b"GET /", b"GET / ", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\n", b"GET / HTTP/1.1 \r\n", b"GET  / HTTP/1.1\r\n", b"GET /  HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n", b"GET /#a HTTP/1.1\r\n", b"GET /\x80 HTTP/1.1\r\n",
        b"GET /\x00 HTTP/1.1\r\n", b"G\x00T / HTTP/1.1\r\n", b"GET / HTTP/1.2\r\n",
        b"GET / HTTP/2.0\r\n", b"GET / http/1.1\r\n", b"GET\t/ HTTP/1.1\r\n", b"G(T / HTTP/1.1\r\n",
        b"GET  HTTP/1.1\r\n", b"GET / HTTP/1.1\r\r\n", b"GET /\x7f HTTP/1.1\r\n",
    ],
)  # fmt: skip
def test_other_lines_are_no_request_lines(line: bytes) -> None:
    assert split_request_head(line, len(line)) is None


def test_a_status_line_is_split() -> None:
    assert split_response_head(b"HTTP/1.1 200 OK\r\nA: 1\r\n", 19) == (200, 1, 17, b"A:")
    assert split_response_head(b"HTTP/1.0 999 \x80\t\r\n", 99) == (999, 0, 17, b"")
    assert split_response_head(b"HTTP/1.1 204 \r\n\r\n", 17) == (204, 1, 15, b"\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"HTTP/1.1", b"HTTP/1.1 200", b"HTTP/1.1 200\r", b"HTTP/1.1 200\n",
        b"HTTP/1.1 200\r\n", b"HTTP/1.1 20\r\n", b"HTTP/1.1 2000\r\n", b"HTTP/1.1 099 A\r\n",
        b"HTTP/1.1  200\r\n", b"HTTP/1.2 200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n", b"HTTP/1.1 2x0 OK\r\n", b"HTTP/1.1 200 O\x00K\r\n",
        b"HTTP/1.1 200 O\rK\r\n", b"HTTP/1.1 200\tOK\r\n", b"http/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\x7f\r\n", b"HTTP/1.1\t200 OK\r\n",
    ],
)  # fmt: skip
def test_other_lines_are_no_status_lines(line: bytes) -> None:
    assert split_response_head(line, len(line)) is None


def test_fields_of_interest_are_found_in_order() -> None:
    block = b"A: 1\r\nhOST:\t a:80 \t\r\nTest: x\r\nTE:\r\nX-Own-B: \x80\r\nHost: \r\n\r\n"
    assert FieldLines(KINDS, b"x-own-").find(block) == [
        (1, b"", b"a:80", 6, 21),
        (2, b"", b"", 30, 35),
        (0, b"x-own-b", b"\x80", 35, 47),
        (1, b"", b"", 47, 55),
    ]


def test_with_an_empty_prefix_only_names_are_found() -> None:
    assert FieldLines(KINDS, b"").find(b"X-Own-B: 1\r\nte: 2\r\n\r\n") == [(2, b"", b"2", 12, 19)]


def test_the_prefix_alone_is_a_reserved_name() -> None:
    assert FieldLines(KINDS, b"x-own-").find(b"X-Own-: 1\r\n\r\n") == [(0, b"x-own-", b"1", 0, 11)]
    assert FieldLines(KINDS, b"x-own-").find(b"X-Own: 1\r\n\r\n") == []


def test_a_long_name_is_of_no_interest() -> None:
    name = b"h" * 64 + b"ost"
    assert FieldLines(KINDS, b"x-own-").find(name + b": 1\r\n\r\n") == []


@pytest.mark.parametrize(
    "block",
    [
        b"", b"\r", b"\n", b"A: 1\r\n", b"A: 1", b"A", b"A: 1\r\n\r", b"A: 1\n\r\n",
        b"A: 1\r\r\n\r\n",
        b"A : 1\r\n\r\n", b" A: 1\r\n\r\n", b"A: 1\r\n 2\r\n\r\n", b": 1\r\n\r\n", b"A\r\n\r\n",
        b"A: \x00\r\n\r\n", b"A\x00: 1\r\n\r\n", b"A: \x7f\r\n\r\n", b"A: 1\r\n\r\nB: 2\r\n\r\n",
        b"Host: a\x0b\r\n\r\n", b"Host: a\rTE: b\r\n\r\n", b"\r\n\r\n", b"A: 1\r\n\r\n\r\n",
        b"H\xc3st: a\r\n\r\n", b"TE: a\n\r\n", b"A: 1\r\n\n",
    ],
)  # fmt: skip
def test_a_malformed_section_is_refused(block: bytes) -> None:
    assert FieldLines(KINDS, b"x-own-").find(block) is None


def test_a_cached_line_is_found_at_each_of_its_positions() -> None:
    finder = FieldLines(KINDS, b"x-own-")
    for _ in range(3):
        assert finder.find(b"TE: 1\r\nA: b\r\nTE: 1\r\n\r\n") == [
            (2, b"", b"1", 0, 7),
            (2, b"", b"1", 13, 20),
        ]
        assert finder.find(b"A: b\r\nTE: 1\r\n\r\n") == [(2, b"", b"1", 6, 13)]
        assert finder.find(b"A: b\r\nTE: 1\r\nA\r\n\r\n") is None


def test_the_cache_of_lines_is_bounded() -> None:
    finder = FieldLines(KINDS, b"x-own-")
    for number in range(5000):
        line = b"TE: %d\r\n" % number
        assert finder.find(line + b"\r\n") == [(2, b"", b"%d" % number, 0, len(line))]
    longest, longer = b"A: " + b"a" * 253, b"A: " + b"a" * 254
    assert len(finder.cache) <= MAX_CACHED_LINES == 2048
    for line in (longest, longer):
        assert finder.find(line + b"\r\n\r\n") == []
    assert longest in finder.cache
    assert longer not in finder.cache


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (b"\r\n", []),
        (b"Token:a\r\n\r\n", [b"a"]),
        (b"A: 1\r\ntOKEN:\t a b \t\r\nB: 2\r\nToken:\r\n\r\n", [b"a b", b""]),
        (b"Tokens: a\r\nAToken: b\r\nA: Token: c\r\nToken : d\r\n\r\n", []),
    ],
)
def test_the_values_of_one_name_are_found(section: bytes, values: list[bytes]) -> None:
    assert field_values(section, b"token") == values
