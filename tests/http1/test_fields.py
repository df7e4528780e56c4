"""The header section: which facts it has, which fields are cut, which sections are refused."""

from collections.abc import Callable
from typing import Any

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.field_kinds import request_field_kinds, response_field_kinds
from cmux_proxy.http1.fields import (
    MAX_CACHED_SECTION,
    MAX_CACHED_SECTIONS,
    MAX_SEEN,
    FieldReader,
    Section,
)
from cmux_proxy.http1.head import CLOSE, KEEP_ALIVE, UPGRADE
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.hop_by_hop import remove_spans
from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS, ReservedFields
from tests.helpers.feeding import attribute_values

LIMITS = HeadLimits(start_line=100, section=4000, fields=100)


RESERVED = ReservedFields(b"x-test-", b"-secret")


def request_reader(reserved: ReservedFields = RESERVED) -> FieldReader:
    return FieldReader(LIMITS, request_field_kinds(reserved), reserved)


def response_reader() -> FieldReader:
    return FieldReader(LIMITS, response_field_kinds(), NO_RESERVED_FIELDS)


class Read:
    """A section, and all its facts as attributes."""

    def __init__(self, block: bytes, section: Section) -> None:
        self.block = block
        self.stripped = section.stripped
        self.spans = section.spans
        self.fields = section.fields

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fields if hasattr(self.fields, name) else self.spans, name)


def read(lines: bytes, new_reader: Callable[[], FieldReader] = request_reader) -> Read:
    section = new_reader().read(lines + b"\r\n")
    assert section is not None
    return Read(lines + b"\r\n", section)


def refusal(lines: bytes, new_reader: Callable[[], FieldReader] = request_reader) -> str:
    with pytest.raises(BadMessage) as caught:
        new_reader().read(lines + b"\r\n")
    return caught.value.reason


def cut_lines(fields: Read) -> list[bytes]:
    return [fields.block[start:end] for start, end in fields.cuts]


def test_a_section_without_interest_is_kept_whole() -> None:
    fields = read(b"A: 1\r\nb:\r\n")
    assert fields.stripped == fields.block == b"A: 1\r\nb:\r\n\r\n"
    assert (fields.cuts, fields.nominated, fields.reserved) == ((), (), ())
    assert (fields.connection_lines, fields.upgrade_lines) == ((), ())
    assert (fields.host, fields.expect, fields.upgrade) == (None, None, None)
    assert (fields.content_length, fields.transfer_encoding, fields.connection) == (None, None, 0)


def test_an_empty_section_is_a_blank_line() -> None:
    assert read(b"").stripped == b"\r\n"


# Facts


def test_host_is_read_with_its_line_and_kept() -> None:
    fields = read(b"A: 1\r\nhoST:\t a.example:80 \t\r\nB: 2\r\n")
    assert fields.host == b"a.example:80"
    start, end = fields.spans.host_line
    assert fields.block[start:end] == b"hoST:\t a.example:80 \t\r\n"
    assert fields.stripped == fields.block


def test_a_length_is_read_as_a_number_and_kept() -> None:
    fields = read(b"Content-LENGTH: 0042 \r\n")
    assert fields.content_length == 42
    assert fields.stripped == fields.block


def test_a_coding_is_read_with_its_line_and_kept() -> None:
    fields = read(b"A: 1\r\nTransfer-Encoding:Chunked\r\n")
    assert fields.transfer_encoding == b"Chunked"
    start, end = fields.spans.transfer_encoding_line
    assert fields.block[start:end] == b"Transfer-Encoding:Chunked\r\n"
    assert fields.stripped == fields.block


@pytest.mark.parametrize("value", [b"\tchunked", b"\t chunked", b"chunked ", b"chunked\t", b"\t"])
def test_a_coding_keeps_white_space_that_is_not_allowed(value: bytes) -> None:
    assert read(b"Transfer-Encoding:  " + value + b"\r\n").transfer_encoding == value
    assert read(b"Transfer-Encoding:  chunked\r\n").transfer_encoding == b"chunked"


@pytest.mark.parametrize("name", ["transfer_encoding", "upgrade"])
def test_values_of_several_lines_are_joined_with_a_comma(name: str) -> None:
    field = name.replace("_", "-").encode()
    fields = read(b"%b: a\r\nX: 1\r\n%b:\r\n%b: b\r\n" % (field, field.upper(), field))
    assert getattr(fields, name) == b"a, , b"


def test_an_expectation_is_read_and_kept() -> None:
    fields = read(b"Expect: 100-continue\r\n")
    assert fields.expect == b"100-continue"
    assert fields.stripped == fields.block


def test_an_upgrade_is_read_and_cut() -> None:
    fields = read(b"Upgrade: x\r\nA: 1\r\n")
    assert fields.upgrade == b"x"
    assert fields.upgrade_lines == fields.cuts == ((0, 12),)
    assert fields.stripped == b"A: 1\r\n\r\n"


def test_host_and_expect_are_ignored_in_a_response() -> None:
    fields = read(b"Host: a b\r\nHost:\r\nExpect: x\r\n", response_reader)
    assert (fields.host, fields.expect) == (None, None)
    assert fields.stripped == fields.block


# Hop by hop


@pytest.mark.parametrize(
    "new_reader", [request_reader, response_reader], ids=["request", "response"]
)
@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Authenticate",
        b"Proxy-Authorization",
        b"Proxy-Connection",
        b"TE",
        b"Upgrade",
    ],
)
def test_hop_by_hop_fields_are_cut_in_any_case(
    name: bytes, new_reader: Callable[[], FieldReader]
) -> None:
    for spelled in (name, name.lower(), name.upper(), name.swapcase()):
        fields = read(b"A: 1\r\n%b: b\r\nC: 2\r\n" % spelled, new_reader)
        assert fields.stripped == b"A: 1\r\nC: 2\r\n\r\n"
        assert cut_lines(fields) == [b"%b: b\r\n" % spelled]


@pytest.mark.parametrize(
    ("value", "bits", "nominated"),
    [
        (b"close", CLOSE, ()),
        (b"CLOSE", CLOSE, ()),
        (b"keep-alive", KEEP_ALIVE, ()),
        (b"Keep-Alive", KEEP_ALIVE, ()),
        (b"upgrade", UPGRADE, ()),
        (b"Upgrade", UPGRADE, ()),
        (b" \tclose ,\tUPGRADE,,", CLOSE | UPGRADE, ()),
        (b"", 0, ()),
        (b" , ,", 0, ()),
        (b"closed", 0, (b"closed",)),
        (b"X-B, keep-alive, x-a", KEEP_ALIVE, (b"x-b", b"x-a")),
    ],
)
def test_connection_is_a_list_of_options_and_names(
    value: bytes, bits: int, nominated: tuple[bytes, ...]
) -> None:
    fields = read(b"Connection: " + value + b"\r\n")
    assert (fields.connection, fields.nominated) == (bits, nominated)
    assert fields.connection_lines == fields.cuts
    assert fields.stripped == b"\r\n"


def test_all_connection_lines_are_one_list() -> None:
    fields = read(b"Connection: a, close\r\nA: 1\r\nB: 2\r\nC: 3\r\nconnection: upgrade,b\r\n")
    assert fields.connection == CLOSE | UPGRADE
    assert fields.nominated == (b"a", b"b")
    assert fields.stripped == b"C: 3\r\n\r\n"
    assert cut_lines(fields)[1:3] == [b"A: 1\r\n", b"B: 2\r\n"]


def test_nominated_fields_are_cut_wherever_they_are() -> None:
    fields = read(b"hop: 1\r\nA: 2\r\nConnection: hop, te\r\nTE: x\r\nHOP:\r\nHop-2: 3\r\n")
    assert fields.stripped == b"A: 2\r\nHop-2: 3\r\n\r\n"
    assert fields.cuts == tuple(sorted(fields.cuts))
    assert len(fields.cuts) == 4


@pytest.mark.parametrize(
    "name", ["content-length", "transfer-encoding", "host", "x-test-secret", "x-test-other"]
)
def test_framing_and_routing_fields_may_not_be_nominated(name: str) -> None:
    assert refusal(f"Connection: close, {name.title()}\r\n".encode()) == (
        f"Connection may not name {name}"
    )


def test_a_response_has_no_reserved_fields_to_protect() -> None:
    assert read(b"Connection: x-test-a\r\nX-Test-A: 1\r\n", response_reader).stripped == b"\r\n"
    assert refusal(b"Connection: host\r\n", response_reader) == "Connection may not name host"


# Reserved fields


def test_reserved_fields_are_listed_in_order_and_cut() -> None:
    fields = read(b"X-Test-B-Secret: 2 \r\nA: 1\r\nx-TEST-a-SECRET:\r\nX-Test-B-Secret: 3\r\n")
    assert fields.reserved == (
        (b"x-test-b-secret", b"2"),
        (b"x-test-a-secret", b""),
        (b"x-test-b-secret", b"3"),
    )
    assert fields.stripped == b"A: 1\r\n\r\n"


def test_a_name_needs_both_prefix_and_suffix_to_be_reserved() -> None:
    lines = b"X-Test-A: 1\r\nX-Test: 2\r\nY-Secret: 3\r\nX-Tes-Secret: 4\r\nX-Test-Secrets: 5\r\n"
    fields = read(lines)
    assert fields.reserved == ()
    assert fields.stripped == fields.block


# Refusals


@pytest.mark.parametrize(
    "lines",
    [
        b"A\r\n",
        b"A : 1\r\n",
        b" A: 1\r\n",
        b": 1\r\n",
        b"A: 1\r\n B: 2\r\n",
        b"A: \x00\r\n",
        b"A: \x7f\r\n",
        b"A: 1\n",
        b"A: 1\rB: 2\r\n",
        b"Host : a\r\n",
        b"Host: a\x0b\r\n",
        b"Connection: close\n",
        b"X-Test-\xff-Secret: 1\r\n",
        b"A: 1\r\n\r\nB: 2\r\n",
    ],
)
def test_a_malformed_section_is_not_read(lines: bytes) -> None:
    assert request_reader().read(lines + b"\r\n") is None


def test_a_second_host_is_refused() -> None:
    assert refusal(b"Host: a\r\nhost: a\r\n") == "there is more than one Host field"


@pytest.mark.parametrize("value", [b"", b"a b", b"a/b", b"u@a", b"a,b", b"[::1", b"a:b"])
def test_an_invalid_host_is_refused(value: bytes) -> None:
    assert refusal(b"Host: " + value + b"\r\n") == (
        "the Host field is not a host and an optional port"
    )


def test_a_second_length_is_refused() -> None:
    assert refusal(b"Content-Length: 5\r\nContent-Length: 5\r\n") == (
        "there is more than one Content-Length field"
    )


@pytest.mark.parametrize("value", [b"", b"+5", b"5,5", b"0x5", b"1_0", b"1" * 19, b"\xb2", b"5 5"])
def test_a_length_that_is_not_a_plain_number_is_refused(value: bytes) -> None:
    assert refusal(b"Content-Length: " + value + b"\r\n") == "Content-Length is not a plain number"


@pytest.mark.parametrize("value", [b"a b", b"a;b", b'"a"', b"a, b c", b"\xe4"])
def test_connection_that_is_not_a_list_of_tokens_is_refused(value: bytes) -> None:
    assert refusal(b"Connection: " + value + b"\r\n") == "Connection is not a list of tokens"


def test_limits_are_checked_before_the_lines() -> None:
    with pytest.raises(BadMessage, match="too large"):
        request_reader().read(b"\x00" * 5000 + b"\r\n\r\n")
    with pytest.raises(BadMessage, match="too many"):
        request_reader().read(b"A:\r\n" * 101 + b"\r\n")


# The cache


def test_the_facts_of_a_section_are_the_same_each_time() -> None:
    caching = request_reader()
    block = b"Host: a\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\nX-Test-A-Secret: 2\r\n\r\n"
    readings = [caching.read(block) for _ in range(4)]
    facts = {
        repr(attribute_values(section.fields) | attribute_values(section.spans))
        for section in readings
        if section is not None
    }
    assert None not in readings
    assert len(facts) == 1


def test_a_section_that_came_twice_is_cached() -> None:
    caching = request_reader()
    block = b"A: 1\r\n\r\n"
    first, second, third = (caching.read(block) for _ in range(3))
    assert first is not second
    assert second is third


def test_a_long_section_is_not_cached() -> None:
    caching = request_reader()
    longest = b"A: %b\r\n\r\n" % (b"a" * (MAX_CACHED_SECTION - 7))
    longer = b"B: %b\r\n\r\n" % (b"a" * (MAX_CACHED_SECTION - 6))
    for _ in range(2):
        caching.read(longest)
        caching.read(longer)
    assert caching.read(longest) is caching.read(longest)
    assert caching.read(longer) is not caching.read(longer)


def test_a_refused_section_is_refused_every_time() -> None:
    caching = request_reader()
    for _ in range(3):
        assert caching.read(b"A\r\n\r\n") is None
        with pytest.raises(BadMessage):
            caching.read(b"Host:\r\n\r\n")


def test_the_cache_is_bounded() -> None:
    """Reads more sections, twice each, than the cache may hold."""
    caching = request_reader()
    blocks = [b"A: %d\r\n\r\n" % number for number in range(5000)]
    first = caching.read(blocks[0])
    first = caching.read(blocks[0])
    assert caching.read(blocks[0]) is first
    for block in blocks[1:]:
        caching.read(block)
        caching.read(block)
    assert len(caching.seen) <= MAX_SEEN == 4096
    assert len(caching.cache) <= MAX_CACHED_SECTIONS == 256
    again = caching.read(blocks[0])
    assert again is not first
    assert again is not None
    assert again.stripped == blocks[0]


# Reserved names


def test_reserved_names_are_cut_and_those_in_cut_only_are_not_listed() -> None:
    names, cut_only = (b"x-test-wish",), (b"x-test-token", b"other")
    reserved = ReservedFields(b"x-test-", b"-secret", names, cut_only)
    block = b"A: 1\r\nX-TEST-Token: t\r\nOther: o\r\nOthers: 2\r\nX-Test-A-Secret: s\r\n"
    block += b"X-Test-Wish: w\r\nX-Test-Wishes: 3\r\n\r\n"
    section = request_reader(reserved).read(block)
    assert section is not None
    assert section.stripped == b"A: 1\r\nOthers: 2\r\nX-Test-Wishes: 3\r\n\r\n"
    assert section.fields.reserved == ((b"x-test-a-secret", b"s"), (b"x-test-wish", b"w"))


# Removing spans


@pytest.mark.parametrize(
    ("cuts", "left"),
    [
        ([], b"0123456789"),
        ([(0, 3)], b"3456789"),
        ([(7, 10)], b"0123456"),
        ([(2, 4), (4, 6)], b"016789"),
        ([(0, 1), (3, 5), (9, 10)], b"125678"),
        ([(0, 10)], b""),
    ],
)
def test_a_block_without_its_cuts_has_the_bytes_between_them(
    cuts: list[tuple[int, int]], left: bytes
) -> None:
    assert remove_spans(b"0123456789", cuts) == left
