"""What all clients and upstreams of one load share."""

import itertools
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.network.mixed_load.plans import Plan

_SHOWN: Final = 600
# So many problems are kept; the first ones tell most.
_MOST_PROBLEMS: Final = 20


class World:
    """Where everybody is, `done`, how often each kind of request was, and the `problems`.

    The upstream on the last port closes behind its answers without a word, so that a request may
    meet a connection which is about to go. It gets requests that may be sent again, no others.
    That on the port before keeps no connection, so that requests to it come in while one is made.
    Keys count from `first` on.
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

    def plan(self, name: str, random: Random, most: int = 400_000) -> Plan:
        """Return a request of this kind with a key of its own."""
        return Plan(name, f"k{next(self._numbers)}", _size(random, most), _size(random, most))

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
        """Return whether an upstream may lose a request before it is done with it."""
        return plan.is_aborted

    def failed(self, who: str, doing: Sequence[object], error: Exception, _since: float) -> None:
        """Note what has gone wrong for a client that did this since then, by the loop's clock."""
        self.problem(f"{who}, {' '.join(map(str, doing))}", repr(error))

    def problem(self, who: str, error: object) -> None:
        """Note what must not happen."""
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"{who}: {error}")


class Mismatch(AssertionError):
    """Other bytes than those that had to come; `what` they are, "head" or some content."""

    def __init__(self, plan: Plan, what: str, got: bytes, wanted: bytes) -> None:
        self.plan = plan
        self.what = what
        self.got = got
        self.wanted = wanted
        super().__init__(self._difference())

    def _difference(self) -> str:
        got, wanted = self.got, self.wanted
        pairs = enumerate(zip(got, wanted, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), min(len(got), len(wanted)))
        start = max(0, at - _SHOWN // 2)
        return (
            f"{self.plan}: {self.what}: {len(got)} bytes instead of {len(wanted)}, "
            f"other from {at} on:\n"
            f"{got[start : start + _SHOWN]!r}\ninstead of\n{wanted[start : start + _SHOWN]!r}"
        )


def expect(plan: Plan, what: str, got: bytes, wanted: bytes) -> None:
    """Fail unless both are the same."""
    if got != wanted:
        raise Mismatch(plan, what, got, wanted)


def _size(random: Random, most: int) -> int:
    """Return a size from nothing to much, the small ones more often."""
    return random.randint(0, min(most, random.choice((0, 100, 100, 5000, 5000, 70_000, most))))
