"""Responses for a running proxy: seeds, inputs that the parsers' fuzzers saved, and mutations.

The sequence is endless, and the same for the same seed until the fuzzers save new inputs.
"""

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Final

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.seeds import seeds
from tests.helpers.grammars import CONTESTED_RESPONSES, mutated, responses
from tests.helpers.loosened import loosened
from tests.helpers.mutants import mutant

_CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# How many mutations of each source come in turn.
_BATCH: Final = 100
_MUTANTS: Final = 400
_INSERTIONS: Final = (
    b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n ", b"\r\n\t", b"\0", b" ", b"\t", b"\x0b",
    b"\x80", b":", b",", b";", b"=", b'"', b"0", b"00000", b"x", b"+", b"-", b"_", b" ; a = b",
    b"\nContent-Length: 5", b"\r\nContent-Length: 5, 5", b"\nTransfer-Encoding: chunked",
    b"\r\nConnection: close", b"\r\nConnection: keep-alive; timeout=5", b"\nKeep-Alive: 5",
    b"HTTP/1.1 204 \r\n", b"HTTP/1.0 304\n", b"HTTP/1.2 200\r\n", b"0\r\n\r\n", b"5 \r\nhello\r\n",
)  # fmt: skip


def messages(seed: int, learned: Path) -> Iterator[bytes]:
    """Yield responses without end; `learned` has the inputs that the parsers' fuzzers saved."""
    random = Random(seed)
    known = [*seeds("response"), *_saved(learned / "response")]
    bodies = [*seeds("response-chunked"), *_saved(learned / "response-chunked")]
    known += [_CHUNKED + body for body in bodies]
    yield from known
    yield from CONTESTED_RESPONSES
    while True:
        yield from _drawn(random.randrange(1 << 32))
        yield from [mutant(random, known, _INSERTIONS) for _ in range(_MUTANTS)]


def _saved(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*"))]


def _drawn(seed: int) -> list[bytes]:
    """Return mutations of valid and of loose responses."""
    drawn: list[bytes] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=_BATCH, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(mutated(st.one_of(responses(), loosened().map(itemgetter(1)))))
    def keep(data: bytes) -> None:
        drawn.append(data)

    keep()
    return drawn
