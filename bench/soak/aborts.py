"""Clients that disconnect at random points: in the head, a body, a tunnel, or the response.

python -m bench.soak.aborts JOB

The bytes that arrive before have to be the beginning of the response to this request.
"""

import asyncio
import socket
from random import Random
from typing import Final

from bench.soak.jobs import Job, in_background, keep_reporting, print_report, run_job
from bench.soak.traffic import report_of
from tests.helpers.timing import later
from tests.helpers.wire import WireListener, closed_port
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import content, cut, in_chunks
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.tunnels import connect_head
from tests.network.mixed_load.upstream import Upstream
from tests.network.mixed_load.wires import LeanWire, send
from tests.network.mixed_load.world import World

_KINDS: Final = [*plans.HTTP11, "abort-waiting", "abort-upgrade", "abort-connect", "refused-upload"]
_SMALL: Final = 20_000
_LARGE: Final = 2_000_000
_TICK: Final = 0.01
# The largest number at a time; a slow machine may reach it.
_MAX_CONCURRENT: Final = 500
# The number of client addresses, because each address has a limited number of ports.
_ADDRESSES: Final = 200


class AbortedWorld(World):
    """A world in which every request may be aborted."""

    def may_break(self, plan: Plan) -> bool:
        """Return True."""
        return True


class Aborts:
    """Starts a number of aborted requests per second, after a burst of the largest number.

    The burst makes the proxy reach its largest memory before the first reading.
    """

    def __init__(self, world: World, job: Job) -> None:
        self._world = world
        self._job = job
        self._random = Random(job.seed)
        self._active = 0

    async def run(self) -> None:
        """Start requests until the time of the job is over, and wait for them to end."""
        clock = asyncio.get_running_loop().time
        start = clock()
        started = -min(_MAX_CONCURRENT, self._job.count)
        async with asyncio.TaskGroup() as group:
            while (now := clock() - start) < self._job.seconds:
                while started < now * self._job.count:
                    started += 1
                    if self._active < _MAX_CONCURRENT:
                        self._active += 1
                        group.create_task(self._abort(started))
                await asyncio.sleep(_TICK)

    async def _abort(self, number: int) -> None:
        random = Random(f"{self._job.seed} {number}")
        max_size = _LARGE if not random.randrange(100) else _SMALL
        plan = self._world.plan(random.choice(_KINDS), random, max_size)
        try:
            with await later(self._connected(number)) as wire:
                point = await later(Abort(self._world, plan, wire, random).run())
            self._world.done[point] += 1
        except Exception as error:
            self._world.problem(f"abort of {plan}", repr(error))
        finally:
            self._active -= 1

    async def _connected(self, number: int) -> LeanWire:
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.bind((f"127.0.1.{1 + number % _ADDRESSES}", 0))
            address = ("127.0.0.1", self._job.proxy)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return LeanWire(sock)


class Abort:
    """One client: sends a part of a request, may read a part of the response, and disconnects."""

    def __init__(self, world: World, plan: Plan, wire: LeanWire, random: Random) -> None:
        self._port = world.port(plan)
        self._plan = plan
        self._wire = wire
        self._random = random
        self._head = (
            connect_head(world, plan)
            if plan.request_type.method == "CONNECT"
            else plans.request_head(plan, self._port, "1.1")
        )

    async def run(self) -> str:
        """Run the client; return the point at which it disconnected."""
        random = self._random
        whole = self._whole()
        point = len(whole) if random.random() < 0.4 else random.randrange(len(whole))
        # A refused upload may get its response, and a close, before all of it is sent.
        try:
            await send(self._wire, cut(whole[:point], random))
            read = await self._read_part(point == len(whole))
        except ConnectionError:
            if self._plan.name != "refused-upload":
                raise
            read = "refused"
        await self._disconnect()
        if read:
            return read
        return "in the head" if point < len(self._head) else "after the head"

    def _whole(self) -> bytes:
        upload = plans.upload(self._plan)
        if self._plan.request_type.upload == "chunked":
            upload = in_chunks(upload, self._plan.trailer, self._random)
        is_tunnel = self._plan.name in ("abort-upgrade", "abort-connect")
        return self._head + (upload if self._plan.request_type.upload or is_tunnel else b"")

    async def _read_part(self, is_whole: bool) -> str:
        """Read a part of a response that must come, or nothing; return a name of what was read."""
        if not is_whole or self._plan.name == "abort-waiting" or self._random.random() < 0.3:
            return ""
        received = b""
        max_size = self._random.choice((1, 100, 1000, 100_000))
        expected = self._beginning()
        while len(received) < max_size:
            data = await self._wire.receive(max_size - len(received))
            received += data
            if not data or len(received) >= len(expected):
                break
        common = min(len(received), len(expected))
        assert received[:common] == expected[:common], (
            f"{received[:600]!r} instead of {expected[:600]!r}"
        )
        assert received, "closed without a response"
        return "in the response"

    def _beginning(self) -> bytes:
        """Return the beginning of the expected response."""
        plan = self._plan
        if plan.request_type.method == "CONNECT":
            return b"HTTP/1.1 200 Connection established\r\n\r\n" + content(
                f"down {plan.key}", plan.down
            )
        if plan.name in ("unrouted", "refused", "refused-upload"):
            return b"HTTP/1.1 %b " % (b"400" if plan.name == "unrouted" else b"502")
        if interim := plans.interim_lines(plan):
            return lines(*interim, "", "")
        if plan.request_type.status.startswith("101"):
            return lines(
                *plans.upstream_response_lines(plan, self._port), "", ""
            ) + plans.response_body(plan, self._port)
        return lines(*plans.client_response_lines(plan, self._port, "1.1", True), "", "")

    async def _disconnect(self) -> None:
        """Disconnect at once or a moment later: by a reset, a close, or a half-close first."""
        random = self._random
        if random.random() < 0.5:
            await asyncio.sleep(random.uniform(0, 0.05))
        method = random.choice(("reset", "close", "half"))
        try:
            if method == "half":
                self._wire.end()
                await asyncio.sleep(random.uniform(0, 0.02))
        except OSError:
            return
        if method == "reset":
            self._wire.reset()


async def work(job: Job) -> None:
    """Run the upstreams, and the clients that disconnect."""
    listeners = [WireListener(port=port) for port in job.ports]
    with closed_port() as closed:
        world = AbortedWorld(job.proxy, job.ports, closed, job.first)
        upstreams = [Upstream(world, listener).serve() for listener in listeners]
        async with in_background(*upstreams, keep_reporting(lambda: report_of(world), job.every)):
            await Aborts(world, job).run()
            # The upstreams of the last requests need time to see their end.
            await asyncio.sleep(1)
    for listener in listeners:
        listener.close()
    print_report(report_of(world) | {"over": True})


if __name__ == "__main__":
    run_job(work)
