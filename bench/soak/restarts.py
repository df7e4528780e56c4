"""How the upstreams of the mixed load restart, and which errors that excuses.

An upstream that restarts stops listening, loses all its connections at once, and listens on its
port again a moment later. In half of the restarts the connections are closed, as the kernel does
for a killed process; in the other half they are reset.

A request that used the port at that time, or just before, may get an incomplete response:

- a 502 with connection_refused, connection_terminated or, in the head, http_response_incomplete;
- a connection that is aborted, so that the response does not look complete;
- after closes without resets, less content: in tunnels, and in bodies until close.

The bytes that arrived have to be correct even then. Every other error is a problem, and so is every
error of other requests.
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

# How long an upstream listens, and how long it is down, in seconds.
_UP: Final = (0.5, 10.0)
# The first time, so that a short soak has restarts too.
_UP_FIRST: Final = (0.2, 1.0)
_DOWN: Final = (0.02, 0.5)
# How long a restart waits for a large response that it can interrupt.
_LARGE_WITHIN: Final = 2.0
# How much later a busy proxy may notice that a connection has ended.
_GRACE: Final = 1.0
# The size of large contents, and one of how many requests has one.
_LARGE: Final = 8_000_000
_OTHERS_ONE_IN: Final = 40
# Large contents that a restart interrupts if possible, because a reset must not look like an end.
_LARGE_ONE_IN: Final = {"until-close": 8, "chunked": 20, "client-first": 10}
ENDED: Final = "ended"
_ALLOWED: Final = ("connection_refused", "connection_terminated", "http_response_incomplete")


class RestartingWorld(World):
    """A world whose upstreams restart; `done` also counts the excused errors."""

    def __init__(
        self, proxy_port: int, ports: Sequence[int], closed_port: int, first: int = 0
    ) -> None:
        super().__init__(proxy_port, ports, closed_port, first)
        self._clock = asyncio.get_running_loop().time
        self._up_since = dict.fromkeys(ports, 0.0)
        self._down: set[int] = set()
        self._ended_at: dict[int, float] = {}
        self._abandoned: set[str] = set()

    def plan(self, name: str, random: Random, max_size: int = 400_000) -> Plan:
        """Return a request with this name; some have large contents."""
        one_in = _LARGE_ONE_IN.get(name, _OTHERS_ONE_IN)
        return super().plan(name, random, max_size if random.randrange(one_in) else _LARGE)

    def set_down(self, port: int, resets: bool) -> None:
        """Record that an upstream stops, with resets or with closes."""
        self.done["restarts"] += 1
        self._down.add(port)
        if not resets:
            self._ended_at[port] = self._clock()

    def set_up(self, port: int) -> None:
        """Record that an upstream listens."""
        self._down.discard(port)
        self._up_since[port] = self._clock()

    def may_break(self, plan: Plan) -> bool:
        """Return whether an upstream may lose a request, also after its client disconnected."""
        return super().may_break(plan) or plan.key in self._abandoned

    def failed(self, who: str, doing: Sequence[object], error: Exception, since: float) -> None:
        """Record a problem, unless a restart explains it."""
        plans = [plan for plan in doing if isinstance(plan, Plan)]
        reason = excuse(error)
        is_disturbed = self._has_ended if reason == ENDED else self._is_disturbed
        if reason and any(is_disturbed(plan, since) for plan in _concerned(error, plans)):
            self.done[f"excused: {reason}"] += 1
            self._abandoned.update(plan.key for plan in plans)
        else:
            super().failed(who, doing, error, since)

    def _is_disturbed(self, plan: Plan, since: float) -> bool:
        port = self.port(plan)
        return port in self._down or self._up_since.get(port, 0.0) > since - _GRACE

    def _has_ended(self, plan: Plan, since: float) -> bool:
        """Return whether the upstream closed without resets; a reset must not look like an end."""
        return self._ended_at.get(self.port(plan), 0.0) > since - _GRACE


def excuse(error: Exception) -> str:
    """Return why a restart may have caused an error; "" if it cannot have."""
    if isinstance(error, EOFError | ConnectionError):
        return "broken off"
    if isinstance(error, OSError) and error.errno == errno.ENOTCONN:
        # The error of a half-close after the other side has reset the connection.
        return "broken off"
    if not isinstance(error, Mismatch):
        return ""
    if error.what == "head":
        return _proxy_error(error.got)
    kind = error.plan.request_type
    if kind.method == "CONNECT" and not error.got:
        # No process has accepted the connection; the kernel decides how it ends.
        return "not served"
    ends_with_connection = (
        kind.framing == "close" or kind.method == "CONNECT" or kind.status.startswith("101")
    )
    return ENDED if ends_with_connection and error.expected.startswith(error.got) else ""


def _proxy_error(head: bytes) -> str:
    """Return the error of a 502 of the proxy; "" if it is not allowed."""
    message = Message(head)
    status = message.field("proxy-status") or ""
    allowed = [error for error in _ALLOWED if status == f"cmux-proxy; error={error}"]
    return allowed[0] if allowed and message.status == 502 else ""


def _concerned(error: Exception, plans: Sequence[Plan]) -> Sequence[Plan]:
    """Return the requests that the error may be about."""
    return [error.plan] if isinstance(error, Mismatch) else plans


async def keep_restarting(world: RestartingWorld, port: int, random: Random) -> None:
    """Start and stop an upstream, until cancelled."""
    up_time = _UP_FIRST
    while True:
        listener = WireListener(port=port)
        upstream = Upstream(world, listener)
        try:
            async with in_background(upstream.serve()):
                world.set_up(port)
                await asyncio.sleep(random.uniform(*up_time))
                await _wait_for_large_response(upstream, random.choice(list(_LARGE_ONE_IN)))
                resets = random.random() < 0.5
                world.set_down(port, resets)
                if resets:
                    upstream.reset_on_close()
        finally:
            listener.close()
        up_time = _UP
        await asyncio.sleep(random.uniform(*_DOWN))


async def _wait_for_large_response(upstream: Upstream, name: str) -> None:
    """Wait a short time until a large response with this name is being sent."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LARGE_WITHIN):
            await _until_sending(upstream, name)


async def _until_sending(upstream: Upstream, name: str) -> None:
    for _ in itertools.count():
        if upstream.is_responding(name, _LARGE // 8):
            return
        # There is no event for its beginning.
        await asyncio.sleep(0.001)
