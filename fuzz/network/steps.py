"""One step: a dialogue, and an event at one of its bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from fuzz.network.dialogues import CLIENT, DIALOGUES, MARK, UPSTREAM, Dialogue, Turn

# How the bytes of one turn are sent, without losing any.
CUT: Final = "cut"
BYTEWISE: Final = "byte by byte"
# How a side closes its connection.
FIN: Final = "fin"
CLOSE: Final = "close"
RESET: Final = "reset"

# One of how many steps is a mutation; the others apply each event to every byte of each dialogue.
_MUTATED: Final = 4
# Of a long turn, only some positions are used.
_LONG: Final = 4096
_POSITIONS_IN_LONG: Final = 40

_INSERTIONS: Final = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\0", b" ", b"\t", b"\x0b", b"\x7f",
    b"\xff", b":", b",", b";", b"0", b"-", b"+", b"\r\nContent-Length: 5", b"\r\nHost: b",
    b"\r\nTransfer-Encoding: chunked", b"\r\nConnection: close", b"\r\nConnection: upgrade",
    b"\r\nUpgrade: a", b"\r\nExpect: 100-continue", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 \r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
)  # fmt: skip


@dataclass(frozen=True)
class Closing:
    """Which side closes its connection, and how."""

    side: str
    method: str


@dataclass(frozen=True)
class Step:
    """An event before byte `position` of turn number `turn`: a cut, or sides that close.

    `closes_first` is the side that closes first at the end. With `keeps_upstream` the upstream's
    connection is kept for reuse.
    """

    dialogue: Dialogue
    turn: int = -1
    position: int = 0
    pacing: str = ""
    closings: tuple[Closing, ...] = ()
    is_mutated: bool = False
    closes_first: str = CLIENT
    keeps_upstream: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have to be received."""
        if self.is_mutated:
            return False
        return not self.closings or self._closes_after_all()

    @property
    def is_reset_midway(self) -> bool:
        """Whether one side resets its connection while the other side still needs it."""
        turn = self.dialogue.turns[self.turn]
        is_midway = turn.side == UPSTREAM and self.position < min(
            len(turn.sent), len(turn.forwarded)
        )
        resets = [(Closing(CLIENT, RESET),)]
        if self.dialogue.is_tunnel and self.turn > 1:
            resets.append((Closing(UPSTREAM, RESET),))
        return is_midway and self.closings in resets

    def _closes_after_all(self) -> bool:
        """Return whether only the client half-closes, after it has sent all bytes."""
        last = max(index for index, turn in enumerate(self.dialogue.turns) if turn.side == CLIENT)
        is_last = self.turn == last and self.position == len(self.dialogue.turns[last].sent)
        return is_last and self.closings == (Closing(CLIENT, FIN),)

    def __str__(self) -> str:
        side = self.dialogue.turns[self.turn].side
        closings = ", ".join(f"{closing.side} {closing.method}" for closing in self.closings)
        what = "mutated" if self.is_mutated else self.pacing or closings or "unchanged"
        return f"{self.dialogue.name}: turn {self.turn} ({side}), byte {self.position}: {what}"


_ENDS: Final = (FIN, CLOSE, RESET)
_ALONE: Final = [(Closing(side, method),) for side in (CLIENT, UPSTREAM) for method in _ENDS]
_TOGETHER: Final = [
    (Closing(first, method), Closing(second, second_how))
    for first, second in ((CLIENT, UPSTREAM), (UPSTREAM, CLIENT))
    for method in _ENDS
    for second_how in _ENDS
]


class Plan:
    """All steps of one seed, by number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._systematic = list(_every_step())
        Random(seed).shuffle(self._systematic)

    def __len__(self) -> int:
        """Return the number of steps until each event has happened at every byte."""
        return len(self._systematic) * _MUTATED // (_MUTATED - 1)

    def step(self, number: int) -> Step:
        """Return the step with that number."""
        random = Random(f"{self._seed} {number}")
        if number % _MUTATED == 0:
            return _mutated(random)
        index = number - number // _MUTATED - 1
        dialogue, turn, position, (pacing, closings) = self._systematic[
            index % len(self._systematic)
        ]
        closes_first = random.choice((CLIENT, UPSTREAM))
        keeps_upstream = random.random() < 0.7
        return Step(dialogue, turn, position, pacing, closings, False, closes_first, keeps_upstream)


_Event = tuple[str, tuple[Closing, ...]]


def _every_step() -> Iterator[tuple[Dialogue, int, int, _Event]]:
    for dialogue in DIALOGUES:
        for number, turn in enumerate(dialogue.turns):
            size = len(turn.sent)
            distance = 1 if size < _LONG else size // _POSITIONS_IN_LONG
            for index, position in enumerate(range(0, size + 1, distance)):
                for event in _events(index):
                    yield dialogue, number, position, event


def _events(index: int) -> Iterator[_Event]:
    """Yield the events for one position; those that take longer, for some positions only."""
    yield (CUT, ())
    yield from (("", closings) for closings in _ALONE)
    if index % 16 == 0:
        yield (BYTEWISE, ())
    yield ("", _TOGETHER[index % len(_TOGETHER)])


def _mutated(random: Random) -> Step:
    dialogue = random.choice(DIALOGUES)
    turns = list(dialogue.turns)
    for _ in range(random.choice((1, 1, 2))):
        number = random.randrange(len(turns))
        turn = turns[number]
        turns[number] = Turn(
            turn.side, _mutated_bytes(turn.sent, random), turn.forwarded, turn.ends
        )
    pacing = random.choice(("", CUT, BYTEWISE))
    position = random.randrange(min(400, len(turns[number].sent) + 1))
    mutated = Dialogue(dialogue.name, tuple(turns), dialogue.is_wrapped, dialogue.is_tunnel)
    closes_first = random.choice((CLIENT, UPSTREAM))
    return Step(mutated, number, position, pacing, (), True, closes_first, random.random() < 0.7)


def _mutated_bytes(data: bytes, random: Random) -> bytes:
    """Return the bytes with some of them overwritten, inserted, omitted or repeated."""
    for _ in range(random.choice((1, 1, 2, 5))):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((0, 0, 1, 2, 20)))
        inserted = random.choice(
            (b"", random.choice(_INSERTIONS), random.randbytes(2), data[start:end] * 2)
        )
        data = data[:start] + inserted + data[end:]
    return data


def with_mark(data: bytes, number: int) -> bytes:
    """Return the bytes with the mark of a step."""
    return data.replace(MARK, mark(number))


def mark(number: int) -> bytes:
    """Return the mark of a step."""
    return b"m%07dx" % (number % 10_000_000)
