"""Header blocks are decoded as RFC 7541 says, within limits."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http2.error_codes import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.field_memory import MAX_FIELD_SIZE, MAX_FIELDS, FieldMemory
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.hpack_decoder import TABLE_SIZE, HpackDecoder
from cmux_proxy.http2.hpack_integer import encode_integer
from tests.helpers.http2_frames import HEAD_LIMITS

Pairs = list[tuple[bytes, bytes]]
SMALL = HeadLimits(40, 60, 5)
SHORT = "a header block is cut short"
SIZE_INSIDE = "the size of the table changes inside a header block"
INDEX = "an index is in none of the tables"


def decode(decoder: HpackDecoder, block: bytes) -> Pairs:
    """Return names and values."""
    return [(field.name, field.value) for field in decoder.decode(block)]


def pairs(text: str) -> Pairs:
    """Return the pairs that lines spell."""
    split = [line.strip().encode().rpartition(b": ") for line in text.strip().splitlines()]
    return [(name, value) for name, _colon, value in split]


GET_1 = pairs(
    """:method: GET
    :scheme: http
    :path: /
    :authority: www.example.com"""
)
GET_2 = [*GET_1, (b"cache-control", b"no-cache")]
GET_3 = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        # Appendix C.2
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path"),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret"),
        ("82", ":method: GET"),
    ],
)
def test_single_fields_of_the_rfc(block: str, expected: str) -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    assert decode(decoder, bytes.fromhex(block)) == pairs(expected)


@pytest.mark.parametrize(
    "blocks",
    [
        # Appendix C.3
        (
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ),
        # Appendix C.4
        (
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ),
    ],
    ids=["plain", "huffman"],
)
def test_the_requests_of_the_rfc(blocks: tuple[str, ...]) -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    decoded = [decode(decoder, bytes.fromhex(block)) for block in blocks]
    assert decoded == [GET_1, GET_2, GET_3]


COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"


@pytest.mark.parametrize(
    "blocks",
    [
        # Appendix C.5
        (
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133"
            "2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70"
            "6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d"
            "54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049"
            "5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e"
            "3d31",
        ),
        # Appendix C.6
        (
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6"
            "2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab"
            "77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f"
            "9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ),
    ],
    ids=["plain", "huffman"],
)
def test_the_responses_of_the_rfc_with_evictions(blocks: tuple[str, ...]) -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    # The table of the examples has 256 bytes.
    decoder.decode(bytes.fromhex("3fe101"))
    date = b"Mon, 21 Oct 2013 20:13:2%d GMT"
    location = (b"location", b"https://www.example.com")
    private = (b"cache-control", b"private")
    first, second, third = (decode(decoder, bytes.fromhex(block)) for block in blocks)
    assert first == [(b":status", b"302"), private, (b"date", date % 1), location]
    assert second == [(b":status", b"307"), private, (b"date", date % 1), location]
    assert third == [
        (b":status", b"200"),
        private,
        (b"date", date % 2),
        location,
        (b"content-encoding", b"gzip"),
        (b"set-cookie", COOKIE),
    ]


NAMES = st.sampled_from([b":path", b"a", b"cookie", b"x-long" * 20, b"accept", b":method"])
VALUES = st.one_of(st.sampled_from([b"", b"GET", b"/", b"v" * 2000]), st.binary(max_size=60))
LISTS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8)


@given(st.lists(st.tuples(LISTS, st.sampled_from([None, 0, 100, 4096])), max_size=8), st.booleans())
def test_what_hpack_encodes_is_decoded(
    messages: list[tuple[list[tuple[bytes, bytes, bool]], int | None]], huffman: bool
) -> None:
    encoder, decoder = hpack.Encoder(), HpackDecoder(HEAD_LIMITS, FieldMemory())
    for fields, table_size in messages:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = encoder.encode(fields, huffman=huffman)
        assert decode(decoder, block) == [(name, value) for name, value, _secret in fields]


@given(st.binary(max_size=30), st.booleans())
def test_any_bytes_are_what_they_are_for_hpack(data: bytes, has_entries: bool) -> None:
    start = bytes.fromhex("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d") * has_entries
    theirs, ours = (
        hpack.Decoder(max_header_list_size=1 << 30),
        HpackDecoder(HEAD_LIMITS, FieldMemory()),
    )
    theirs.decode(start)
    ours.decode(start)
    expected: Pairs | None
    try:
        expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(data, raw=True)]
    except hpack.HPACKError:
        expected = None
    try:
        fields: Pairs | None = decode(ours, data)
    except ConnectionFault:
        fields = None
    # Integers that need more than four bytes are refused by us only; so few bytes have none.
    assert fields == expected or (fields is None and b"\x80\x80\x80\x80" in data)


@pytest.mark.parametrize(
    ("block", "rule"),
    [
        pytest.param("80", INDEX, id="index-0"),
        pytest.param("be", INDEX, id="index-62-of-an-empty-table"),
        pytest.param("ff00", INDEX, id="index-127"),
        pytest.param("7f00 01 61", INDEX, id="name-index-of-an-empty-table"),
        pytest.param("0f 30 01 61", INDEX, id="name-index-63"),
        pytest.param("82 20", SIZE_INSIDE, id="size-update-at-the-end"),
        pytest.param("82 20 82", SIZE_INSIDE, id="size-update-inside"),
        pytest.param("3fe2 1f", "the table would be larger than it may be", id="table-of-4097"),
        pytest.param("00", SHORT, id="no-name"),
        pytest.param("00 01", SHORT, id="name-cut-short"),
        pytest.param("00 01 61", SHORT, id="no-value"),
        pytest.param("00 01 61 02 62", SHORT, id="value-cut-short"),
        pytest.param("40", SHORT, id="no-indexed-name"),
        pytest.param("04", SHORT, id="no-value-of-an-indexed-name"),
        pytest.param("ff", "an integer of HPACK is cut short", id="index-cut-short"),
        pytest.param("00 01 61 7f", "an integer of HPACK is cut short", id="length-cut-short"),
        pytest.param("ff ff ff ff ff 0f", "an integer of HPACK is too large", id="large-index"),
        pytest.param("04 81 ff", "the padding of a Huffman string is wrong", id="padding"),
        pytest.param("04 84 ff ff ff ff", "a Huffman string contains EOS", id="eos"),
    ],
)
def test_a_malformed_block_ends_the_connection(block: str, rule: str) -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(bytes.fromhex(block))
    assert (caught.value.code, caught.value.rule) == (COMPRESSION_ERROR, rule)


def test_a_table_may_be_as_large_as_before() -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    assert decode(decoder, bytes.fromhex("20 3fe1 1f 82")) == [(b":method", b"GET")]


def test_a_smaller_table_evicts_the_oldest() -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    decoder.decode(b"\x40\x01a\x01b" + b"\x40\x01c\x01d")
    # Room for one entry of 34 bytes.
    assert decode(decoder, b"\x3f\x03\xbe") == [(b"c", b"d")]
    with pytest.raises(ConnectionFault):
        decoder.decode(b"\xbf")


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    decoder.decode(b"\x40\x01a\x01b")
    value = b"v" * (TABLE_SIZE - 32)
    large = b"\x40\x01a" + encode_integer(len(value), 0x7F, 0) + value
    assert decode(decoder, large) == [(b"a", value)]
    with pytest.raises(ConnectionFault):
        decoder.decode(b"\xbe")


def test_the_name_of_an_entry_that_is_evicted_by_its_own_use_is_kept() -> None:
    decoder = HpackDecoder(HEAD_LIMITS, FieldMemory())
    # Room for one entry; the second takes the name of the first, and its place.
    decoder.decode(b"\x3f\x03\x40\x01a\x01b")
    assert decode(decoder, b"\x7e\x01c\xbe") == [(b"a", b"c"), (b"a", b"c")]


# Limits: 100 bytes as lines of HTTP/1.1, and 10 fields.


@pytest.mark.parametrize(
    ("count", "size", "is_too_large"),
    [(1, 95, False), (1, 96, True), (10, 5, False), (11, 1, True), (10, 6, True)],
)
def test_a_list_is_limited_in_bytes_and_fields(count: int, size: int, is_too_large: bool) -> None:
    decoder = HpackDecoder(SMALL, FieldMemory())
    fields = decoder.decode((b"\x00\x01a" + bytes([size]) + b"v" * size) * count)
    assert decoder.is_too_large is is_too_large
    assert len(fields) == (0 if is_too_large else count)


def test_crumbs_and_indexed_fields_count() -> None:
    decoder = HpackDecoder(SMALL, FieldMemory())
    decoder.decode(b"\x60\x01a" + b"\xbe" * 10)
    assert decoder.is_too_large
    assert decoder.decode(b"\xbe") != []
    assert not decoder.is_too_large


def test_the_table_stays_in_step_behind_the_limit() -> None:
    decoder = HpackDecoder(SMALL, FieldMemory())
    fields = decoder.decode(b"\x00\x01a\x7f\x21" + b"v" * 160 + b"\x40\x01b\x01c")
    assert fields == []
    assert decoder.is_too_large
    assert decode(decoder, b"\xbe") == [(b"b", b"c")]


@pytest.mark.parametrize(
    ("value", "harmless"), [(b"", 40), (b"v" * 90, 4)], ids=["many-fields", "many-bytes"]
)
def test_a_bomb_ends_the_connection(value: bytes, harmless: int) -> None:
    decoder = HpackDecoder(SMALL, FieldMemory())
    decoder.decode(b"\x40\x01a" + bytes([len(value)]) + value)
    assert decoder.decode(b"\xbe" * harmless) == []
    assert decoder.is_too_large
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(b"\xbe" * (harmless + 1))
    assert caught.value.code == ENHANCE_YOUR_CALM


def test_connections_share_the_fields_of_their_tables() -> None:
    memory = FieldMemory()
    decoders = [HpackDecoder(HEAD_LIMITS, memory) for _ in range(2)]
    block = b"\x40\x01a\x01b"
    first, second = (decoder.decode(block)[0] for decoder in decoders)
    assert first is second
    assert decode(decoders[1], b"\xbe") == [(b"a", b"b")]


@pytest.mark.parametrize(
    "field",
    [(b"cookie", b"a=b"), (b"a", b"v" * MAX_FIELD_SIZE), (b"Bad", b"v"), (b"te", b"x")],
    ids=["cookie", "large", "malformed-name", "malformed-value"],
)
def test_some_fields_are_not_shared(field: tuple[bytes, bytes]) -> None:
    memory = FieldMemory()
    assert memory.share(HeaderField(*field)).name == field[0]
    assert not memory.fields


def test_different_fields_are_not_mixed_up() -> None:
    memory = FieldMemory()
    fields = [(b"a", b"b c"), (b"a", b"b"), (b"ab", b"c"), (b"a", b"bc"), (b":path", b"/")]
    for _ in range(2):
        for name, value in fields:
            shared = memory.share(HeaderField(name, value))
            assert (shared.name, shared.value) == (name, value)
    assert len(memory.fields) == len(fields)


def test_the_memory_of_fields_is_bounded() -> None:
    memory = FieldMemory()
    for count in range(MAX_FIELDS + 1):
        memory.share(HeaderField(b"a", b"%d" % count))
        assert len(memory.fields) <= MAX_FIELDS
