"""Splits one input into pieces, and checks that the split makes no difference.

The cuts are derived from the bytes themselves, so that an input is only a message, and a crash can
be repeated from its file.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from tests.helpers.feeding import byte_by_byte, split_at

REFUSED: Final = "refused"

# One of how many inputs is fed byte by byte, if it is short, because that takes ten times as long.
_BYTEWISE: Final = 8
_MAX_BYTEWISE: Final = 512

Pieces = Sequence[bytes]


def splits_of(data: bytes) -> list[Pieces]:
    """Return lists of pieces of the bytes; the first is all bytes in one piece."""
    drawn = zlib.crc32(data)
    generator = random.Random(drawn)
    size = len(data) + 1
    two = split_at(data, [generator.randrange(size)])
    several = split_at(data, [generator.randrange(size) for _ in range(4)])
    is_bytewise = drawn % _BYTEWISE == 0 and len(data) <= _MAX_BYTEWISE
    return [[data], two, several, *([byte_by_byte(data)] if is_bytewise else [])]


def outcome(action: Callable[[], object]) -> object:
    """Return the result of the action, or its refusal; it may raise no other exception."""
    try:
        return action()
    except BadMessage as error:
        return _refusal(error.status, error.reason)
    except RouteRefused as error:
        return _refusal(error.status, error.text)


def _refusal(status: int, text: str) -> tuple[str, int, str]:
    assert 400 <= status <= 599, f"a refusal with status {status}"
    assert text, "a refusal without a reason"
    assert text.isascii(), f"a reason that is not ASCII: {text!r}"
    assert text.isprintable(), f"a reason that is not one line: {text!r}"
    return (REFUSED, status, text)


def is_refusal(result: object) -> bool:
    """Return whether an outcome is a refusal."""
    return isinstance(result, tuple) and result[:1] == (REFUSED,)


def same_in_all_splits(
    data: bytes, read: Callable[[Pieces], object], is_finished: Callable[[object], bool]
) -> list[object]:
    """Return the outcomes, beginning with that of the whole; fail if a split changes the outcome.

    The split may decide which of several faults is reported, and an unfinished message may be
    refused earlier when it is split.
    """
    whole, *others = [outcome(partial(read, pieces)) for pieces in splits_of(data)]
    for other in others:
        if is_refusal(other):
            assert is_refusal(whole) or not is_finished(whole), f"{other}, but whole {whole}"
        else:
            assert other == whole, f"{other}, but whole {whole}"
    return [whole, *others]
