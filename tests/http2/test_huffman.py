"""Huffman strings (RFC 7541 section 5.2, appendix B)."""

import hpack.huffman
import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http2.error_codes import COMPRESSION_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.huffman import HUFFMAN, MAX_REMEMBERED, MAX_REMEMBERED_SIZE, HuffmanCode
from cmux_proxy.http2.huffman_code import CODE_LENGTHS, EOS, huffman_codes

THEIRS = hpack.huffman.HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
PADDING = "the padding of a Huffman string is wrong"


def spelled(*symbols: int, padding: str = "") -> bytes:
    """Return symbols and padding as bits."""
    codes = huffman_codes()
    bits = "".join(f"{codes[symbol]:0{CODE_LENGTHS[symbol]}b}" for symbol in symbols) + padding
    assert len(bits) % 8 == 0
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_the_codes_are_those_of_the_rfc() -> None:
    assert list(CODE_LENGTHS) == list(REQUEST_CODES_LENGTH)
    assert huffman_codes() == list(REQUEST_CODES)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", ""),
        ("www.example.com", "f1e3 c2e5 f23a 6ba0 ab90 f4ff"),
        ("no-cache", "a8eb 1064 9cbf"),
        ("custom-key", "25a8 49e9 5ba9 7d7f"),
        ("Mon, 21 Oct 2013 20:13:21 GMT", "d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff"),
        ("307", "640e ff"),
    ],
)
def test_the_strings_of_the_rfc(text: str, encoded: str) -> None:
    assert HUFFMAN.encode(text.encode()) == bytes.fromhex(encoded)
    assert HUFFMAN.decode(bytes.fromhex(encoded)) == text.encode()


@given(st.binary(max_size=40))
def test_both_directions_agree_with_hpack(text: bytes) -> None:
    encoded = HUFFMAN.encode(text)
    assert encoded == THEIRS.encode(text)
    assert HUFFMAN.encoded_size(text) == len(encoded)
    assert HUFFMAN.decode(encoded) == text


@given(st.binary(max_size=12))
def test_any_bytes_are_what_they_are_for_hpack(data: bytes) -> None:
    expected: bytes | None
    try:
        expected = bytes(hpack.huffman_table.decode_huffman(data))
    except hpack.HPACKDecodingError:
        expected = None
    if expected is None:
        with pytest.raises(ConnectionFault):
            HUFFMAN.decode(data)
    else:
        assert HUFFMAN.decode(data) == expected


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_is_decoded_at_every_place_of_a_byte(symbol: int) -> None:
    for before in range(8):
        text = b"0" * before + bytes([symbol])
        assert HUFFMAN.decode(HUFFMAN.encode(text)) == text


@pytest.mark.parametrize("size", range(8))
def test_up_to_seven_ones_are_padding(size: int) -> None:
    symbols = {0: b"X", 1: b":", 2: b" ", 3: b"0", 4: b"X0:", 5: b":0:", 6: b"00", 7: b"0:0:0"}
    chosen = next(
        text
        for text in (*symbols.values(), *(b"0" * n + b":" * m for n in range(9) for m in range(9)))
        if sum(CODE_LENGTHS[byte] for byte in text) % 8 == -size % 8
    )
    assert HUFFMAN.decode(spelled(*chosen, padding="1" * size)) == chosen


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff", id="eight-ones"),
        pytest.param(spelled(0x30, 0x30, 0x30, 0x30, 0x30, padding="1111111") + b"\xff", id="more"),
        pytest.param(spelled(0x30, padding="110"), id="not-ones"),
        pytest.param(spelled(0x30, padding="000")[:0] + b"\x00", id="zeros-that-end-no-symbol"),
        pytest.param(spelled(0x0A, padding="11")[:3], id="a-symbol-cut-short"),
    ],
)
def test_other_padding_is_refused(data: bytes) -> None:
    with pytest.raises(ConnectionFault, match=PADDING) as caught:
        HUFFMAN.decode(data)
    assert caught.value.code == COMPRESSION_ERROR


@pytest.mark.parametrize("before", [b"", b"0", b"00", b":0"])
def test_eos_is_refused(before: bytes) -> None:
    size = sum(CODE_LENGTHS[byte] for byte in before) + CODE_LENGTHS[EOS]
    data = spelled(*before, EOS, padding="1" * (-size % 8))
    with pytest.raises(ConnectionFault, match="contains EOS"):
        HUFFMAN.decode(data)
    with pytest.raises(ConnectionFault, match="contains EOS"):
        HUFFMAN.decode(data + b"\x00")


def test_strings_are_remembered_within_bounds() -> None:
    code = HuffmanCode()
    for count in range(MAX_REMEMBERED + 1):
        code.decode(code.encode(b"%d" % count))
        assert len(code.remembered) <= MAX_REMEMBERED
    assert code.remembered
    code.remembered.clear()
    code.decode(code.encode(b"0" * MAX_REMEMBERED_SIZE * 2))
    assert not code.remembered


def test_a_malformed_string_is_not_remembered() -> None:
    code = HuffmanCode()
    for _ in range(2):
        with pytest.raises(ConnectionFault):
            code.decode(b"\xff")
    assert not code.remembered
