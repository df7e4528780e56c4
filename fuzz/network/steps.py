"""What one step does: a dialogue, and what happens to it at one of its bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from fuzz.network.dialogues import CLIENT, DIALOGUES, MARK, UPSTREAM, Dialogue, Turn

# How the bytes of one turn come, with nothing lost.
CUT: Final = "cut"
BYTEWISE: Final = "byte by byte"
# How somebody leaves.
FIN: Final = "fin"
CLOSE: Final = "close"
RESET: Final = "reset"

# In one of so many steps the bytes are other ones; in the rest, every byte of every dialogue has
# its turn.
_MUTATED: Final = 4
# Of a turn that is long, so many places are tried.
_LONG: Final = 4096
_PLACES_IN_LONG: Final = 40

_NASTY: Final = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\0", b" ", b"\t", b"\x0b", b"\x7f",
    b"\xff", b":", b",", b";", b"0", b"-", b"+", b"\r\nContent-Length: 5", b"\r\nHost: b",
    b"\r\nTransfer-Encoding: chunked", b"\r\nConnection: close", b"\r\nConnection: upgrade",
    b"\r\nUpgrade: a", b"\r\nExpect: 100-continue", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 \r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
)  # fmt: skip


@dataclass(frozen=True)
class Leaving:
    """Somebody leaves, and how."""

    who: str
    how: str


@dataclass(frozen=True)
class Step:
    """In turn number `turn` something happens before byte `at`: a cut, or people leave.

    `first_out` ends first when all is said, and with `keeps` the upstream stays, to be used again.
    """

    dialogue: Dialogue
    turn: int = -1
    at: int = 0
    pacing: str = ""
    leaving: tuple[Leaving, ...] = ()
    is_mutated: bool = False
    first_out: str = CLIENT
    keeps: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether everything has to be heard, byte for byte."""
        if self.is_mutated:
            return False
        return not self.leaving or self._leaves_after_all()

    @property
    def is_reset_amid(self) -> bool:
        """Whether one side alone resets its connection while the other one needs it."""
        turn = self.dialogue.turns[self.turn]
        is_amid = turn.who == UPSTREAM and self.at < min(len(turn.says), len(turn.hears))
        resets = [(Leaving(CLIENT, RESET),)]
        if self.dialogue.is_tunnel and self.turn > 1:
            resets.append((Leaving(UPSTREAM, RESET),))
        return is_amid and self.leaving in resets

    def _leaves_after_all(self) -> bool:
        """Return whether it is the client alone, which has said all and still listens."""
        last = max(i for i, turn in enumerate(self.dialogue.turns) if turn.who == CLIENT)
        is_last = self.turn == last and self.at == len(self.dialogue.turns[last].says)
        return is_last and self.leaving == (Leaving(CLIENT, FIN),)

    def __str__(self) -> str:
        who = self.dialogue.turns[self.turn].who
        leaves = ", ".join(f"{one.who} {one.how}" for one in self.leaving)
        what = "mutated" if self.is_mutated else self.pacing or leaves or "as it is"
        return f"{self.dialogue.name}: turn {self.turn} ({who}), byte {self.at}: {what}"


_ENDS: Final = (FIN, CLOSE, RESET)
_ALONE: Final = [(Leaving(who, how),) for who in (CLIENT, UPSTREAM) for how in _ENDS]
_TOGETHER: Final = [
    (Leaving(first, one), Leaving(second, other))
    for first, second in ((CLIENT, UPSTREAM), (UPSTREAM, CLIENT))
    for one in _ENDS
    for other in _ENDS
]


class Plan:
    """All steps of one seed, by number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._systematic = list(_every_step())
        Random(seed).shuffle(self._systematic)

    def __len__(self) -> int:
        """Return after how many steps every byte has had everything happen to it."""
        return len(self._systematic) * _MUTATED // (_MUTATED - 1)

    def step(self, number: int) -> Step:
        """Return the step with that number."""
        dice = Random(f"{self._seed} {number}")
        if number % _MUTATED == 0:
            return _mutated(dice)
        place = number - number // _MUTATED - 1
        dialogue, turn, at, (pacing, leaving) = self._systematic[place % len(self._systematic)]
        first_out = dice.choice((CLIENT, UPSTREAM))
        keeps = dice.random() < 0.7
        return Step(dialogue, turn, at, pacing, leaving, False, first_out, keeps)


_Happening = tuple[str, tuple[Leaving, ...]]


def _every_step() -> Iterator[tuple[Dialogue, int, int, _Happening]]:
    for dialogue in DIALOGUES:
        for number, turn in enumerate(dialogue.turns):
            size = len(turn.says)
            apart = 1 if size < _LONG else size // _PLACES_IN_LONG
            for place, at in enumerate(range(0, size + 1, apart)):
                for happening in _happenings(place):
                    yield dialogue, number, at, happening


def _happenings(place: int) -> Iterator[_Happening]:
    """Yield what happens at one place; what takes longer, at some only."""
    yield (CUT, ())
    yield from (("", leaving) for leaving in _ALONE)
    if place % 16 == 0:
        yield (BYTEWISE, ())
    yield ("", _TOGETHER[place % len(_TOGETHER)])


def _mutated(dice: Random) -> Step:
    dialogue = dice.choice(DIALOGUES)
    turns = list(dialogue.turns)
    for _ in range(dice.choice((1, 1, 2))):
        number = dice.randrange(len(turns))
        turn = turns[number]
        turns[number] = Turn(turn.who, _other(turn.says, dice), turn.hears, turn.ends)
    pacing = dice.choice(("", CUT, BYTEWISE))
    at = dice.randrange(min(400, len(turns[number].says) + 1))
    other = Dialogue(dialogue.name, tuple(turns), dialogue.is_wrapped, dialogue.is_tunnel)
    first_out = dice.choice((CLIENT, UPSTREAM))
    return Step(other, number, at, pacing, (), True, first_out, dice.random() < 0.7)


def _other(data: bytes, dice: Random) -> bytes:
    """Return the bytes with some of them overwritten, inserted, left out or said twice."""
    for _ in range(dice.choice((1, 1, 2, 5))):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice((0, 0, 1, 2, 20)))
        put = dice.choice((b"", dice.choice(_NASTY), dice.randbytes(2), data[start:end] * 2))
        data = data[:start] + put + data[end:]
    return data


def with_mark(data: bytes, number: int) -> bytes:
    """Return the bytes with the mark of a step."""
    return data.replace(MARK, mark(number))


def mark(number: int) -> bytes:
    """Return the mark of a step."""
    return b"m%07dx" % (number % 10_000_000)
