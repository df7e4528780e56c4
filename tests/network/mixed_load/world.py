"""What all clients and upstreams of a load share."""

import itertools
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.network.mixed_load.plans import Plan

_SHOWN: Final = 600
# At most this many problems are kept.
_MAX_PROBLEMS: Final = 20


class World:
    """The ports, `done` with the number of requests by type, and the `problems`.

    The upstream on the last port closes after its responses without announcing it, so that a
    request may meet a closing connection. It gets only requests that may be retried. The upstream
    on the port before it keeps no connection, so that requests to it arrive during a dial. Keys
    count from `first` on.
    """

    def __init__(
        self, proxy_port: int, ports: Sequence[int], closed_port: int, first: int = 0
    ) -> None:
        self.proxy_port = proxy_port
        *self.ports, self.fresh_port, self.vanishing_port = ports
        self.closed_port = closed_port
        self.done: Counter[str] = Counter()
        self.problem_count = 0
        self.problems: list[str] = []
        self._numbers = itertools.count(first)

    def plan(self, name: str, random: Random, max_size: int = 400_000) -> Plan:
        """Return a request of this type with a unique key."""
        return Plan(
            name, f"k{next(self._numbers)}", _size(random, max_size), _size(random, max_size)
        )

    def port(self, plan: Plan) -> int:
        """Return the port that a request is for."""
        if plan.name.startswith("refused"):
            return self.closed_port
        if plan.name == "vanishing":
            return self.vanishing_port
        if plan.name in ("ended-upload", "abort-malformed"):
            return self.fresh_port
        return self.ports[int(plan.key[1:]) % len(self.ports)]

    def may_break(self, plan: Plan) -> bool:
        """Return whether the connection of a request may end before its response is complete."""
        return plan.is_aborted

    def failed(self, who: str, doing: Sequence[object], error: Exception, _since: float) -> None:
        """Record an error of a client; `_since` is when it started, by the loop's clock."""
        self.problem(f"{who}, {' '.join(map(str, doing))}", repr(error))

    def problem(self, who: str, error: object) -> None:
        """Record a problem."""
        self.problem_count += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(f"{who}: {error}")


class Mismatch(AssertionError):
    """Unexpected bytes; `what` is the part of the message, such as "head"."""

    def __init__(self, plan: Plan, what: str, got: bytes, expected: bytes) -> None:
        self.plan = plan
        self.what = what
        self.got = got
        self.expected = expected
        super().__init__(self._difference())

    def _difference(self) -> str:
        got, expected = self.got, self.expected
        pairs = enumerate(zip(got, expected, strict=False))
        at = next(
            (at for at, (got_byte, expected_byte) in pairs if got_byte != expected_byte),
            min(len(got), len(expected)),
        )
        start = max(0, at - _SHOWN // 2)
        return (
            f"{self.plan}: {self.what}: {len(got)} bytes instead of {len(expected)}, "
            f"different from byte {at} on:\n"
            f"{got[start : start + _SHOWN]!r}\ninstead of\n{expected[start : start + _SHOWN]!r}"
        )


def expect(plan: Plan, what: str, got: bytes, expected: bytes) -> None:
    """Fail unless both are equal."""
    if got != expected:
        raise Mismatch(plan, what, got, expected)


def _size(random: Random, max_size: int) -> int:
    """Return a random size up to `max_size`; small sizes are more frequent."""
    return random.randint(
        0, min(max_size, random.choice((0, 100, 100, 5000, 5000, 70_000, max_size)))
    )
