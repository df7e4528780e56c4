"""The block of the access log: when it has to be taken, and what it holds."""

from collections.abc import Callable
from time import time
from typing import Final

import pytest

from cmux_proxy import _build
from cmux_proxy.observe.access_log import FORMATS
from cmux_proxy.observe.line_block import (
    BLOCK_SIZE,
    HAS_FAST_LINES,
    Block,
    LineBlock,
    is_block,
    make_block,
)
from cmux_proxy.observe.record import REQUEST, Record

TIME_LENGTH: Final = len("2026-11-25T10:00:00.500Z")

if HAS_FAST_LINES:
    from cmux_proxy.observe._fast_lines import FastLines

TYPES: Final = [LineBlock, FastLines] if HAS_FAST_LINES else [LineBlock]
of_each_type: Final = pytest.mark.parametrize("block_type", TYPES)
BlockType = Callable[[str, Callable[[], object], Callable[[], bool], int], Block]


def record_of(path: str) -> Record:
    record = Record(REQUEST, "192.0.2.1", 1.0)
    record.path = path
    return record


class Taker:
    """Takes blocks while it has room, and counts how often it was asked."""

    def __init__(self, block_type: BlockType) -> None:
        self.begun = 0
        self.has_room = True
        self.blocks: list[bytes] = []
        self.asked = 0
        self.block = block_type("text", self._begin, self._hand_over, BLOCK_SIZE)

    def _begin(self) -> None:
        self.begun += 1

    def _hand_over(self) -> bool:
        self.asked += 1
        if self.has_room:
            self.blocks.append(self.block.take())
        return self.has_room

    def fill(self) -> None:
        """Add lines until it was asked once more."""
        asked = self.asked
        while self.asked == asked:
            self.block.put(record_of("/" + "a" * 2000))


def test_only_the_compiled_build_has_fast_lines() -> None:
    assert HAS_FAST_LINES is _build.COMPILED
    assert type(make_block("text", list, bool)) is TYPES[-1]


@of_each_type
@pytest.mark.parametrize("log_format", FORMATS)
def test_lines_are_whole_and_in_order(log_format: str, block_type: BlockType) -> None:
    block = block_type(log_format, list, bool, BLOCK_SIZE)
    records = [record_of(f"/{number}") for number in range(100)]
    for record in records:
        record.method = "GET"
        block.put(record)
    size = block.size()
    lines = block.take().decode("ascii").splitlines(keepends=True)
    assert len(lines) == 100
    assert all(line.endswith("\n") for line in lines)
    assert [f"/{number}" in line for number, line in enumerate(lines)] == [True] * 100
    assert size == len("".join(lines))
    assert block.size() == 0
    assert block.take() == b""


@of_each_type
def test_a_line_has_the_time_of_day(block_type: BlockType) -> None:
    block = block_type("text", list, bool, BLOCK_SIZE)
    before = FORMATS["text"](record_of("/"), time())
    block.put(record_of("/"))
    line = block.take().decode().removesuffix("\n")
    after = FORMATS["text"](record_of("/"), time())
    assert before[:TIME_LENGTH] <= line[:TIME_LENGTH] <= after[:TIME_LENGTH]
    assert line[TIME_LENGTH:] == before[TIME_LENGTH:]


@of_each_type
def test_a_block_begins_with_its_first_line_until_that_is_forgotten(block_type: BlockType) -> None:
    taker = Taker(block_type)
    assert taker.begun == 0
    for _ in range(3):
        taker.block.put(record_of("/"))
    assert taker.begun == 1
    taker.block.is_begun = False
    taker.block.put(record_of("/"))
    assert taker.begun == 2
    assert taker.asked == 0


@of_each_type
def test_a_full_block_is_handed_over_with_the_line_that_fills_it(block_type: BlockType) -> None:
    taker = Taker(block_type)
    taker.fill()
    taker.fill()
    assert [BLOCK_SIZE <= len(block) < BLOCK_SIZE + 3000 for block in taker.blocks] == [True, True]
    assert taker.block.size() == 0
    assert taker.block.dropped == 0


@of_each_type
def test_without_room_lines_are_dropped_and_those_that_were_there_are_kept(
    block_type: BlockType,
) -> None:
    taker = Taker(block_type)
    taker.has_room = False
    taker.fill()
    size = taker.block.size()
    for number in range(5):
        taker.block.put(record_of("/dropped"))
        assert taker.block.dropped == number + 1
        assert taker.block.size() == size
    taker.has_room = True
    taker.block.put(record_of("/again"))
    assert taker.block.dropped == 5
    [block] = taker.blocks
    assert len(block) == size
    assert b"/dropped" not in block
    assert b" /again " in taker.block.take()


@of_each_type
def test_a_block_is_a_sink(block_type: BlockType) -> None:
    block = block_type("text", list, bool, BLOCK_SIZE)
    assert is_block(block)
    assert not is_block(list)
    block(record_of("/a"))
    assert b" /a " in block.take()
