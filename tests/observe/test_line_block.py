"""The block of the access log: when it has to be taken, and what it holds."""

from time import time
from typing import Final

import pytest

from cmux_proxy import _build
from cmux_proxy.observe.access_log import FORMATS
from cmux_proxy.observe.line_block import BLOCK_SIZE, HAS_FAST_LINES, LineBlock
from cmux_proxy.observe.record import REQUEST, Record

TIME_LENGTH: Final = len("2026-11-25T10:00:00.500Z")


def record_of(path: str) -> Record:
    record = Record(REQUEST, "192.0.2.1", 1.0)
    record.path = path
    return record


class Taker:
    """Takes blocks while it has room, and counts how often it was asked."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_room = True
        self.blocks: list[bytes] = []
        self.asked = 0
        self.block = LineBlock("text", self._begin, self._hand_over)

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
    assert Taker().block.takes_fields is _build.COMPILED


@pytest.mark.parametrize("log_format", FORMATS)
def test_lines_are_whole_and_in_order(log_format: str) -> None:
    block = LineBlock(log_format, list, bool)
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


def test_a_line_has_the_time_of_day() -> None:
    block = LineBlock("text", list, bool)
    before = FORMATS["text"](record_of("/"), time())
    block.put(record_of("/"))
    line = block.take().decode().removesuffix("\n")
    after = FORMATS["text"](record_of("/"), time())
    assert before[:TIME_LENGTH] <= line[:TIME_LENGTH] <= after[:TIME_LENGTH]
    assert line[TIME_LENGTH:] == before[TIME_LENGTH:]


def test_a_block_begins_with_its_first_line_until_that_is_forgotten() -> None:
    taker = Taker()
    assert taker.begun == 0
    for _ in range(3):
        taker.block.put(record_of("/"))
    assert taker.begun == 1
    taker.block.is_begun = False
    taker.block.put(record_of("/"))
    assert taker.begun == 2
    assert taker.asked == 0


def test_a_full_block_is_handed_over_with_the_line_that_fills_it() -> None:
    taker = Taker()
    taker.fill()
    taker.fill()
    assert [BLOCK_SIZE <= len(block) < BLOCK_SIZE + 3000 for block in taker.blocks] == [True, True]
    assert taker.block.size() == 0
    assert taker.block.dropped == 0


def test_without_room_lines_are_dropped_and_those_that_were_there_are_kept() -> None:
    taker = Taker()
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


def test_a_block_is_a_sink() -> None:
    block = LineBlock("text", list, bool)
    block(record_of("/a"))
    assert b" /a " in block.take()
