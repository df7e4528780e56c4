"""Messages with one place spoiled, where it is enough to have many of them quickly.

`grammars.py` has strategies that spoil more, and take longer.
"""

from collections.abc import Sequence
from random import Random


def mutant(dice: Random, messages: Sequence[bytes], nasty: Sequence[bytes]) -> bytes:
    """Return one of the messages with something nasty in place of up to two bytes."""
    data = dice.choice(messages)
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.choice(nasty) + data[min(len(data), at + dice.randrange(3)) :]
