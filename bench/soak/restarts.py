"""How the upstreams of the mixed load restart, and what that excuses.

An upstream that restarts stops to listen, loses all its connections at once, and is back on its
port a moment later. Half of them end as the kernel ends those of a process that was killed, the
other half with resets.

Whoever was using its port then, or just before, may get less than the whole answer:

- a 502 with connection_refused, connection_terminated or, amid the head, http_response_incomplete;
- a connection that breaks off, so that the answer cannot be taken for complete;
- where connections ended, without resets, less content: in tunnels, and in bodies until close.

What came has to be right even so. Everything else is a problem, and so is all that happens to
others.
"""

import asyncio
import contextlib
import errno
import itertools
from collections.abc import Sequence
from random import Random
from typing import Final

from bench.soak.jobs import in_background
from tests.helpers.messages import Message
from tests.helpers.wire import WireListener
from tests.network.mixed_load.plans import Plan
from tests.network.mixed_load.upstream import Upstream
from tests.network.mixed_load.world import Mismatch, World

# Seconds that an upstream stays, and that it is gone.
_UP: Final = (0.5, 10.0)
# At first, so that a short soak has restarts too.
_UP_FIRST: Final = (0.2, 1.0)
_DOWN: Final = (0.02, 0.5)
# In between it waits so long for an answer to break off.
_AMID_ANSWER: Final = 2.0
# A busy proxy may learn so much later that a connection has ended.
_GRACE: Final = 1.0
# Contents have up to so many bytes in one request of so many.
_LARGE: Final = 8_000_000
_OTHERS_ONE_IN: Final = 40
# Those that an upstream that restarts breaks off, if it can: a reset must not look like an end.
_LARGE_ONE_IN: Final = {"until-close": 8, "chunked": 20, "client-first": 10}
ENDED: Final = "ended"
_ALLOWED: Final = ("connection_refused", "connection_terminated", "http_response_incomplete")


class RestartingWorld(World):
    """A world whose upstreams restart; `done` also counts what that has spoilt."""

    def __init__(
        self, proxy_port: int, ports: Sequence[int], closed_port: int, first: int = 0
    ) -> None:
        super().__init__(proxy_port, ports, closed_port, first)
        self._clock = asyncio.get_running_loop().time
        self._up_since = dict.fromkeys(ports, 0.0)
        self._down: set[int] = set()
        self._ended_at: dict[int, float] = {}
        self._abandoned: set[str] = set()

    def plan(self, name: str, random: Random, most: int = 400_000) -> Plan:
        """Return a request of this kind; some have large contents."""
        one_in = _LARGE_ONE_IN.get(name, _OTHERS_ONE_IN)
        return super().plan(name, random, most if random.randrange(one_in) else _LARGE)

    def goes_down(self, port: int, resets: bool) -> None:
        """An upstream stops, with resets or with ends."""
        self.done["restarts"] += 1
        self._down.add(port)
        if not resets:
            self._ended_at[port] = self._clock()

    def is_up(self, port: int) -> None:
        """An upstream listens."""
        self._down.discard(port)
        self._up_since[port] = self._clock()

    def may_break(self, plan: Plan) -> bool:
        """Return whether an upstream may lose a request: also where a client has left early."""
        return super().may_break(plan) or plan.key in self._abandoned

    def failed(self, who: str, doing: Sequence[object], error: Exception, since: float) -> None:
        """Note a problem, unless a restart explains it."""
        plans = [plan for plan in doing if isinstance(plan, Plan)]
        kind = excuse(error)
        is_disturbed = self._has_ended if kind == ENDED else self._is_disturbed
        if kind and any(is_disturbed(plan, since) for plan in _concerned(error, plans)):
            self.done[f"excused: {kind}"] += 1
            self._abandoned.update(plan.key for plan in plans)
        else:
            super().failed(who, doing, error, since)

    def _is_disturbed(self, plan: Plan, since: float) -> bool:
        port = self.port(plan)
        return port in self._down or self._up_since.get(port, 0.0) > since - _GRACE

    def _has_ended(self, plan: Plan, since: float) -> bool:
        """Return whether the upstream has gone with an end: a reset must never look like one."""
        return self._ended_at.get(self.port(plan), 0.0) > since - _GRACE


def excuse(error: Exception) -> str:
    """Return what a restart may have to do with an error; "" when nothing can explain it."""
    if isinstance(error, EOFError | ConnectionError):
        return "broken off"
    if isinstance(error, OSError) and error.errno == errno.ENOTCONN:
        # What a socket says that is to end its side once the other side has reset the connection.
        return "broken off"
    if not isinstance(error, Mismatch):
        return ""
    if error.what == "head":
        return _told_error(error.got)
    kind = error.plan.kind
    if kind.method == "CONNECT" and not error.got:
        # Nobody has accepted the connection: what it ends with is the kernel's business.
        return "not served"
    ends_with_connection = (
        kind.framing == "close" or kind.method == "CONNECT" or kind.status.startswith("101")
    )
    return ENDED if ends_with_connection and error.wanted.startswith(error.got) else ""


def _told_error(head: bytes) -> str:
    """Return what a 502 of the proxy says that has happened; "" where it may not happen."""
    message = Message(head)
    told = message.field("proxy-status") or ""
    allowed = [error for error in _ALLOWED if told == f"cmux-proxy; error={error}"]
    return allowed[0] if allowed and message.status == 502 else ""


def _concerned(error: Exception, plans: Sequence[Plan]) -> Sequence[Plan]:
    """Return the requests that the error may be about."""
    return [error.plan] if isinstance(error, Mismatch) else plans


async def keep_restarting(world: RestartingWorld, port: int, random: Random) -> None:
    """Have an upstream come and go, until cancelled."""
    stays = _UP_FIRST
    while True:
        listener = WireListener(port=port)
        upstream = Upstream(world, listener)
        try:
            async with in_background(upstream.serve()):
                world.is_up(port)
                await asyncio.sleep(random.uniform(*stays))
                await _large_answer(upstream, random.choice(list(_LARGE_ONE_IN)))
                resets = random.random() < 0.5
                world.goes_down(port, resets)
                if resets:
                    upstream.reset_on_close()
        finally:
            listener.close()
        stays = _UP
        await asyncio.sleep(random.uniform(*_DOWN))


async def _large_answer(upstream: Upstream, name: str) -> None:
    """Wait for a large answer of a kind to be under way, hardly ever so by chance; not for long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_AMID_ANSWER):
            await _until_answering(upstream, name)


async def _until_answering(upstream: Upstream, name: str) -> None:
    for _ in itertools.count():
        if upstream.is_answering(name, _LARGE // 8):
            return
        # Nothing tells when one begins.
        await asyncio.sleep(0.001)
