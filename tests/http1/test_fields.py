"""The header section: which fields are noted, which are cut, which sections are refused."""

from typing import Any

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.fields import FieldReader, Section, without
from cmux_proxy.http1.head import CLOSE, KEEP_ALIVE, UPGRADE, HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from tests.helpers.feeding import known

LIMITS = HeadLimits(start_line=100, section=4000, fields=100)


def reader(prefix: bytes = b"x-test-", suffix: bytes = b"-secret") -> FieldReader:
    return FieldReader(LIMITS, ReservedFields(prefix, suffix))


class Read:
    """A section, and at the top level what was read in it."""

    def __init__(self, block: bytes, section: Section) -> None:
        self.block = block
        self.kept = section.kept
        self.spans = section.spans
        self.fields = section.fields

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fields if hasattr(self.fields, name) else self.spans, name)


def read(lines: bytes, prefix: bytes = b"x-test-") -> Read:
    section = reader(prefix).read(lines + b"\r\n")
    assert section is not None
    return Read(lines + b"\r\n", section)


def refusal(lines: bytes, prefix: bytes = b"x-test-") -> str:
    with pytest.raises(BadMessage) as caught:
        reader(prefix).read(lines + b"\r\n")
    return caught.value.reason


def cut_lines(fields: Read) -> list[bytes]:
    return [fields.block[start:end] for start, end in fields.cuts]


def test_a_section_without_interest_is_kept_whole() -> None:
    fields = read(b"A: 1\r\nb:\r\n")
    assert fields.kept == fields.block == b"A: 1\r\nb:\r\n\r\n"
    assert (fields.cuts, fields.handshake, fields.nominated, fields.reported) == ((), (), (), ())
    assert (fields.host, fields.expect, fields.upgrade) == (None, None, None)
    assert (fields.content_length, fields.transfer_encoding, fields.connection) == (None, None, 0)


def test_an_empty_section_is_a_blank_line() -> None:
    assert read(b"").kept == b"\r\n"


# What is noted


def test_host_is_noted_with_its_span_and_kept() -> None:
    fields = read(b"A: 1\r\nhoST:\t a.example:80 \t\r\nB: 2\r\n")
    assert fields.host == b"a.example:80"
    start, end = fields.spans.host
    assert fields.block[start:end] == b"hoST:\t a.example:80 \t\r\n"
    assert fields.kept == fields.block


def test_a_length_is_noted_as_a_number_and_kept() -> None:
    fields = read(b"Content-LENGTH: 0042 \r\n")
    assert fields.content_length == 42
    assert fields.kept == fields.block


def test_a_coding_is_noted_with_its_span_and_kept() -> None:
    fields = read(b"A: 1\r\nTransfer-Encoding:Chunked\r\n")
    assert fields.transfer_encoding == b"Chunked"
    start, end = fields.spans.coding
    assert fields.block[start:end] == b"Transfer-Encoding:Chunked\r\n"
    assert fields.kept == fields.block


@pytest.mark.parametrize("value", [b"\tchunked", b"\t chunked", b"chunked ", b"chunked\t", b"\t"])
def test_a_coding_keeps_the_white_space_that_it_may_not_have(value: bytes) -> None:
    assert read(b"Transfer-Encoding:  " + value + b"\r\n").transfer_encoding == value
    assert read(b"Transfer-Encoding:  chunked\r\n").transfer_encoding == b"chunked"


@pytest.mark.parametrize("name", ["transfer_encoding", "upgrade"])
def test_values_of_several_lines_are_joined_with_a_comma(name: str) -> None:
    field = name.replace("_", "-").encode()
    fields = read(b"%b: a\r\nX: 1\r\n%b:\r\n%b: b\r\n" % (field, field.upper(), field))
    assert getattr(fields, name) == b"a, , b"


def test_an_expectation_is_noted_and_kept() -> None:
    fields = read(b"Expect: 100-continue\r\n")
    assert fields.expect == b"100-continue"
    assert fields.kept == fields.block


def test_an_upgrade_is_noted_and_cut_and_belongs_to_the_handshake() -> None:
    fields = read(b"Upgrade: x\r\nA: 1\r\n")
    assert fields.upgrade == b"x"
    assert fields.handshake == fields.cuts == ((0, 12),)
    assert fields.kept == b"A: 1\r\n\r\n"


def test_host_and_expect_say_nothing_in_a_response() -> None:
    fields = read(b"Host: a b\r\nHost:\r\nExpect: x\r\n", prefix=b"")
    assert (fields.host, fields.expect) == (None, None)
    assert fields.kept == fields.block


# Hop by hop


@pytest.mark.parametrize("prefix", [b"x-test-", b""], ids=["request", "response"])
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
def test_fields_for_one_hop_are_cut_in_any_case(name: bytes, prefix: bytes) -> None:
    for spelled in (name, name.lower(), name.upper(), name.swapcase()):
        fields = read(b"A: 1\r\n%b: b\r\nC: 2\r\n" % spelled, prefix)
        assert fields.kept == b"A: 1\r\nC: 2\r\n\r\n"
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
    assert fields.handshake == fields.cuts
    assert fields.kept == b"\r\n"


def test_all_connection_lines_are_one_list() -> None:
    fields = read(b"Connection: a, close\r\nA: 1\r\nB: 2\r\nC: 3\r\nconnection: upgrade,b\r\n")
    assert fields.connection == CLOSE | UPGRADE
    assert fields.nominated == (b"a", b"b")
    assert fields.kept == b"C: 3\r\n\r\n"
    assert cut_lines(fields)[1:3] == [b"A: 1\r\n", b"B: 2\r\n"]


def test_nominated_fields_are_cut_wherever_they_stand() -> None:
    fields = read(b"hop: 1\r\nA: 2\r\nConnection: hop, te\r\nTE: x\r\nHOP:\r\nHop-2: 3\r\n")
    assert fields.kept == b"A: 2\r\nHop-2: 3\r\n\r\n"
    assert fields.cuts == tuple(sorted(fields.cuts))
    assert len(fields.cuts) == 4


@pytest.mark.parametrize(
    "name", ["content-length", "transfer-encoding", "host", "x-test-secret", "x-test-other"]
)
def test_what_frames_or_routes_may_not_be_nominated(name: str) -> None:
    assert refusal(f"Connection: close, {name.title()}\r\n".encode()) == (
        f"Connection may not name {name}"
    )


def test_a_response_has_no_family_to_protect() -> None:
    assert read(b"Connection: x-test-a\r\nX-Test-A: 1\r\n", prefix=b"").kept == b"\r\n"
    assert refusal(b"Connection: host\r\n", prefix=b"") == "Connection may not name host"


# The reported family


def test_the_family_is_reported_in_order_and_cut() -> None:
    fields = read(b"X-Test-B-Secret: 2 \r\nA: 1\r\nx-TEST-a-SECRET:\r\nX-Test-B-Secret: 3\r\n")
    assert fields.reported == (
        (b"x-test-b-secret", b"2"),
        (b"x-test-a-secret", b""),
        (b"x-test-b-secret", b"3"),
    )
    assert fields.kept == b"A: 1\r\n\r\n"


def test_half_of_the_family_name_is_no_family() -> None:
    lines = b"X-Test-A: 1\r\nX-Test: 2\r\nY-Secret: 3\r\nX-Tes-Secret: 4\r\nX-Test-Secrets: 5\r\n"
    fields = read(lines)
    assert fields.reported == ()
    assert fields.kept == fields.block


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
    assert reader().read(lines + b"\r\n") is None


def test_a_second_host_is_refused() -> None:
    assert refusal(b"Host: a\r\nhost: a\r\n") == "there is more than one Host field"


@pytest.mark.parametrize("value", [b"", b"a b", b"a/b", b"u@a", b"a,b", b"[::1", b"a:b"])
def test_a_host_that_is_none_is_refused(value: bytes) -> None:
    assert refusal(b"Host: " + value + b"\r\n") == (
        "the Host field is not a host and an optional port"
    )


def test_a_second_length_is_refused() -> None:
    assert refusal(b"Content-Length: 5\r\nContent-Length: 5\r\n") == (
        "there is more than one Content-Length field"
    )


@pytest.mark.parametrize("value", [b"", b"+5", b"5,5", b"0x5", b"1_0", b"1" * 19, b"\xb2", b"5 5"])
def test_a_length_that_is_no_plain_number_is_refused(value: bytes) -> None:
    assert refusal(b"Content-Length: " + value + b"\r\n") == "Content-Length is not a plain number"


@pytest.mark.parametrize("value", [b"a b", b"a;b", b'"a"', b"a, b c", b"\xe4"])
def test_connection_that_is_no_list_of_tokens_is_refused(value: bytes) -> None:
    assert refusal(b"Connection: " + value + b"\r\n") == "Connection is not a list of tokens"


def test_limits_are_checked_before_the_lines() -> None:
    with pytest.raises(BadMessage, match="too large"):
        reader().read(b"\x00" * 5000 + b"\r\n\r\n")
    with pytest.raises(BadMessage, match="too many"):
        reader().read(b"A:\r\n" * 101 + b"\r\n")


# Memory


def test_facts_of_a_section_are_the_same_at_every_reading() -> None:
    memory = reader()
    block = b"Host: a\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\nX-Test-A-Secret: 2\r\n\r\n"
    readings = [memory.read(block) for _ in range(4)]
    facts = {repr(known(one.fields) | known(one.spans)) for one in readings if one is not None}
    assert None not in readings
    assert len(facts) == 1


def test_a_section_that_has_come_twice_is_remembered() -> None:
    memory = reader()
    block = b"A: 1\r\n\r\n"
    first, second, third = (memory.read(block) for _ in range(3))
    assert first is not second
    assert second is third


def test_a_long_section_is_not_remembered() -> None:
    memory = reader()
    longest = b"A: %b\r\n\r\n" % (b"a" * (2048 - 7))
    longer = b"B: %b\r\n\r\n" % (b"a" * (2048 - 6))
    for _ in range(2):
        memory.read(longest)
        memory.read(longer)
    assert memory.read(longest) is memory.read(longest)
    assert memory.read(longer) is not memory.read(longer)


def test_a_refused_section_is_refused_every_time() -> None:
    memory = reader()
    for _ in range(3):
        assert memory.read(b"A\r\n\r\n") is None
        with pytest.raises(BadMessage):
            memory.read(b"Host:\r\n\r\n")


def test_what_is_remembered_is_bounded() -> None:
    """Reads more sections, twice each, than any bound that a memory could keep."""
    memory = reader()
    blocks = [b"A: %d\r\n\r\n" % number for number in range(5000)]
    first = memory.read(blocks[0])
    first = memory.read(blocks[0])
    assert memory.read(blocks[0]) is first
    for block in blocks[1:]:
        memory.read(block)
        memory.read(block)
    assert len(memory._seen) <= 4096
    assert len(memory._memory) <= 256
    again = memory.read(blocks[0])
    assert again is not first
    assert again is not None
    assert again.kept == blocks[0]


# Further names


def test_fields_of_further_names_are_cut_and_some_of_them_are_reported() -> None:
    family = ReservedFields(b"x-test-", b"-secret", (b"x-test-wish",), (b"x-test-token", b"other"))
    block = b"A: 1\r\nX-TEST-Token: t\r\nOther: o\r\nOthers: 2\r\nX-Test-A-Secret: s\r\n"
    block += b"X-Test-Wish: w\r\nX-Test-Wishes: 3\r\n\r\n"
    section = FieldReader(LIMITS, family).read(block)
    assert section is not None
    assert section.kept == b"A: 1\r\nOthers: 2\r\nX-Test-Wishes: 3\r\n\r\n"
    assert section.fields.reported == ((b"x-test-a-secret", b"s"), (b"x-test-wish", b"w"))


# Cutting


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
def test_a_block_without_its_cuts_is_what_lies_between(
    cuts: list[tuple[int, int]], left: bytes
) -> None:
    assert without(b"0123456789", cuts) == left
