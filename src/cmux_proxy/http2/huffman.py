"""Encodes and decodes Huffman strings of HPACK (RFC 7541 section 5.2).

The decoder is a state machine that takes a byte at a time. A state is a node of the code's tree,
and its row, with an entry for each byte, is made when the state is reached for the first time: a
worker without HTTP/2 makes none. Does not know which strings are headers.
"""

from typing import Final

from cmux_proxy.http2.error_codes import COMPRESSION_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.huffman_code import CODE_LENGTHS, EOS, huffman_codes

# Peers repeat most of their strings: at most so many are remembered, of at most so many bytes.
MAX_REMEMBERED: Final = 1024
MAX_REMEMBERED_SIZE: Final = 96

# Padding is at most 7 bits of the code of EOS, which are all ones (RFC 7541 section 5.2).
_MAX_PADDING: Final = 7


class StateRow:
    """What each byte does in one state: the state that follows, and the symbols that it ends.

    The state -1 stands for bytes that contain EOS.
    """

    __slots__ = ("next_states", "symbols")

    def __init__(self) -> None:
        self.next_states: list[int] = []
        self.symbols: list[bytes] = []


class HuffmanCode:
    """The code as a tree and as rows; one object serves a whole process."""

    __slots__ = ("_children", "_codes", "_may_end", "_rows", "remembered")

    def __init__(self) -> None:
        self._codes = huffman_codes()
        # Two entries for each node: the nodes behind 0 and 1, or -1 - symbol.
        self._children = [0, 0]
        for symbol in range(len(CODE_LENGTHS)):
            self._add_leaf(symbol)
        self._rows: list[StateRow | None] = [None] * (len(self._children) // 2)
        self._may_end = [False] * len(self._rows)
        node = 0
        for _ in range(_MAX_PADDING + 1):
            self._may_end[node] = True
            node = self._children[node * 2 + 1]

        self.remembered: dict[bytes, bytes] = {}

    def _add_leaf(self, symbol: int) -> None:
        node = 0
        for position in range(CODE_LENGTHS[symbol] - 1, 0, -1):
            edge = node * 2 + (self._codes[symbol] >> position & 1)
            if self._children[edge] == 0:
                self._children[edge] = len(self._children) // 2
                self._children += [0, 0]
            node = self._children[edge]
        self._children[node * 2 + (self._codes[symbol] & 1)] = -1 - symbol

    def decode(self, data: bytes) -> bytes:
        """Return the decoded string; raise ConnectionFault if it is malformed."""
        text = self.remembered.get(data)
        if text is None:
            text = self._decode(data)
            if len(data) <= MAX_REMEMBERED_SIZE:
                if len(self.remembered) >= MAX_REMEMBERED:
                    self.remembered.clear()
                self.remembered[data] = text
        return text

    def _decode(self, data: bytes) -> bytes:
        rows = self._rows
        state = 0
        pieces: list[bytes] = []
        for at in range(len(data)):
            byte = data[at]
            row = rows[state]
            if row is None:
                row = self._make_row(state)
            pieces.append(row.symbols[byte])
            state = row.next_states[byte]
            if state < 0:
                raise ConnectionFault(COMPRESSION_ERROR, "a Huffman string contains EOS")
        if not self._may_end[state]:
            raise ConnectionFault(COMPRESSION_ERROR, "the padding of a Huffman string is wrong")
        return b"".join(pieces)

    def _make_row(self, state: int) -> StateRow:
        row = StateRow()
        for byte in range(256):
            symbols, next_state = self._walk(state, byte)
            row.symbols.append(symbols)
            row.next_states.append(next_state)
        self._rows[state] = row
        return row

    def _walk(self, node: int, byte: int) -> tuple[bytes, int]:
        """Return the symbols on the way of eight bits, and the node at its end."""
        symbols = b""
        for position in range(7, -1, -1):
            node = self._children[node * 2 + (byte >> position & 1)]
            if node < 0:
                if -1 - node == EOS:
                    return b"", -1
                symbols += bytes([-1 - node])
                node = 0
        return symbols, node

    def encode(self, text: bytes) -> bytes:
        """Return the encoded string, padded with ones to a whole number of bytes."""
        bits = size = 0
        for byte in text:
            bits = bits << CODE_LENGTHS[byte] | self._codes[byte]
            size += CODE_LENGTHS[byte]
        padding = -size % 8
        bits = (bits + 1 << padding) - 1
        return bits.to_bytes((size + padding) // 8, "big")

    def encoded_size(self, text: bytes) -> int:
        """Return the size in bytes of the encoded string."""
        size = 0
        for byte in text:
            size += CODE_LENGTHS[byte]
        return (size + 7) // 8


# Made once, because it does not depend on a connection.
HUFFMAN: Final = HuffmanCode()
