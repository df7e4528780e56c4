"""Messages with one mutation, for tests that need many of them quickly.

`grammars.py` has strategies with more mutations, which take longer.
"""

from collections.abc import Sequence
from random import Random


def mutant(random: Random, messages: Sequence[bytes], insertions: Sequence[bytes]) -> bytes:
    """Return one of the messages with an insertion in place of up to two bytes."""
    data = random.choice(messages)
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.randrange(3))
    return data[:start] + random.choice(insertions) + data[end:]
