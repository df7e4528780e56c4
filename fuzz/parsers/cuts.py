"""In which pieces one input arrives, and that it makes no difference.

The cuts are drawn from the bytes themselves, so that an input is a message and nothing else, and a
crash can be repeated from its file.
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

# What is fed byte by byte takes ten times as long: one input of so many is, if it is short.
_BYTEWISE: Final = 8
_LONGEST: Final = 512

Pieces = Sequence[bytes]


def ways(data: bytes) -> list[Pieces]:
    """Return in which pieces the bytes arrive; the whole comes first."""
    drawn = zlib.crc32(data)
    dice = random.Random(drawn)
    size = len(data) + 1
    two = split_at(data, [dice.randrange(size)])
    several = split_at(data, [dice.randrange(size) for _ in range(4)])
    is_bytewise = drawn % _BYTEWISE == 0 and len(data) <= _LONGEST
    return [[data], two, several, *([byte_by_byte(data)] if is_bytewise else [])]


def outcome(action: Callable[[], object]) -> object:
    """Return what the action comes to, or what it refuses; nothing else may be raised."""
    try:
        return action()
    except BadMessage as error:
        return _told(error.status, error.reason)
    except RouteRefused as error:
        return _told(error.status, error.text)


def _told(status: int, text: str) -> tuple[str, int, str]:
    assert 400 <= status <= 599, f"a refusal with status {status}"
    assert text, "a refusal without a reason"
    assert text.isascii(), f"a reason that is not ASCII: {text!r}"
    assert text.isprintable(), f"a reason that is not one line: {text!r}"
    return (REFUSED, status, text)


def is_refusal(result: object) -> bool:
    """Return whether an outcome is a refusal."""
    return isinstance(result, tuple) and result[:1] == (REFUSED,)


def same_in_every_way(
    data: bytes, read: Callable[[Pieces], object], is_finished: Callable[[object], bool]
) -> list[object]:
    """Return the outcomes, that of the whole first; fail where pieces lead to another one.

    Which of several faults is told may depend on the cuts, and what is unfinished as a whole may
    be refused sooner when it comes in pieces.
    """
    whole, *others = [outcome(partial(read, pieces)) for pieces in ways(data)]
    for other in others:
        if is_refusal(other):
            assert is_refusal(whole) or not is_finished(whole), f"{other}, but whole {whole}"
        else:
            assert other == whole, f"{other}, but whole {whole}"
    return [whole, *others]
