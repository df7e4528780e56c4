"""Clients that go away at random points: of the head, a body, a tunnel, or the answer.

python -m bench.soak.aborts JOB

What comes until then has to be the beginning of the answer to the very request.
"""

import asyncio
import socket
from random import Random
from typing import Final

from bench.soak.jobs import Job, in_background, keep_telling, run_job, say
from bench.soak.traffic import told
from tests.helpers.timing import later
from tests.helpers.wire import WireListener, closed_port
from tests.network.mixed_load import plans
from tests.network.mixed_load.bodies import content, cut, in_chunks
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.tunnels import connecting
from tests.network.mixed_load.upstream import Upstream
from tests.network.mixed_load.wires import LeanWire, send
from tests.network.mixed_load.world import World

_KINDS: Final = [*plans.NEW, "abort-waiting", "abort-upgrade", "abort-connect", "refused-upload"]
_SMALL: Final = 20_000
_LARGE: Final = 2_000_000
_TICK: Final = 0.01
# So many at a time; where there are as many, the machine does not keep up.
_MOST: Final = 500
# From so many addresses, since each has only so many ports.
_ADDRESSES: Final = 200


class AbortedWorld(World):
    """A world of which every request may break off anywhere."""

    def may_break(self, plan: Plan) -> bool:
        """Return True."""
        return True


class Aborts:
    """Begins so many in a second, and at first as many at once as there ever are at a time.

    So the proxy has had the most that it will have before it is looked at.
    """

    def __init__(self, world: World, job: Job) -> None:
        self._world = world
        self._job = job
        self._random = Random(job.seed)
        self._under_way = 0

    async def run(self) -> None:
        """Begin one after the other until the job's time is over, and wait for them to end."""
        clock = asyncio.get_running_loop().time
        start = clock()
        begun = -min(_MOST, self._job.count)
        async with asyncio.TaskGroup() as group:
            while (now := clock() - start) < self._job.seconds:
                while begun < now * self._job.count:
                    begun += 1
                    if self._under_way < _MOST:
                        self._under_way += 1
                        group.create_task(self._one(begun))
                await asyncio.sleep(_TICK)

    async def _one(self, number: int) -> None:
        random = Random(f"{self._job.seed} {number}")
        most = _LARGE if not random.randrange(100) else _SMALL
        plan = self._world.plan(random.choice(_KINDS), random, most)
        try:
            with await later(self._connected(number)) as wire:
                how = await later(Abort(self._world, plan, wire, random).run())
            self._world.done[how] += 1
        except Exception as error:
            self._world.problem(f"abort of {plan}", repr(error))
        finally:
            self._under_way -= 1

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
    """One client: sends some of a request, perhaps all, may read some of the answer, and leaves."""

    def __init__(self, world: World, plan: Plan, wire: LeanWire, random: Random) -> None:
        self._port = world.port(plan)
        self._plan = plan
        self._wire = wire
        self._random = random
        self._head = (
            connecting(world, plan)
            if plan.kind.method == "CONNECT"
            else plans.sent(plan, self._port, "1.1")
        )

    async def run(self) -> str:
        """Do all that; return what it was."""
        random = self._random
        whole = self._whole()
        point = len(whole) if random.random() < 0.4 else random.randrange(len(whole))
        # A refused upload may be answered, and the connection closed, before it is all sent.
        try:
            await send(self._wire, cut(whole[:point], random))
            did = await self._look(point == len(whole))
        except ConnectionError:
            if self._plan.name != "refused-upload":
                raise
            did = "refused"
        await self._leave()
        if did:
            return did
        return "amid the head" if point < len(self._head) else "behind the head"

    def _whole(self) -> bytes:
        upload = plans.upload(self._plan)
        if self._plan.kind.upload == "chunked":
            upload = in_chunks(upload, self._plan.trailer, self._random)
        is_tunnel = self._plan.name in ("abort-upgrade", "abort-connect")
        return self._head + (upload if self._plan.kind.upload or is_tunnel else b"")

    async def _look(self, is_whole: bool) -> str:
        """Perhaps read some of an answer that must come; return what was done."""
        if not is_whole or self._plan.name == "abort-waiting" or self._random.random() < 0.3:
            return ""
        got = b""
        most = self._random.choice((1, 100, 1000, 100_000))
        wanted = self._beginning()
        while len(got) < most:
            piece = await self._wire.receive(most - len(got))
            got += piece
            if not piece or len(got) >= len(wanted):
                break
        common = min(len(got), len(wanted))
        assert got[:common] == wanted[:common], f"{got[:600]!r} instead of {wanted[:600]!r}"
        assert got, "closed without an answer"
        return "amid the answer"

    def _beginning(self) -> bytes:
        """Return what an answer begins with."""
        plan = self._plan
        if plan.kind.method == "CONNECT":
            return b"HTTP/1.1 200 Connection established\r\n\r\n" + content(
                f"down {plan.key}", plan.down
            )
        if plan.name in ("unrouted", "refused", "refused-upload"):
            return b"HTTP/1.1 %b " % (b"400" if plan.name == "unrouted" else b"502")
        if interim := plans.interim(plan):
            return lines(*interim, "", "")
        if plan.kind.status.startswith("101"):
            return lines(*plans.said(plan, self._port), "", "") + plans.body(plan, self._port)
        return lines(*plans.told(plan, self._port, "1.1", True), "", "")

    async def _leave(self) -> None:
        """Leave at once, or a moment later: with a reset, an end, or first half an end."""
        random = self._random
        if random.random() < 0.5:
            await asyncio.sleep(random.uniform(0, 0.05))
        how = random.choice(("reset", "close", "half"))
        try:
            if how == "half":
                self._wire.end()
                await asyncio.sleep(random.uniform(0, 0.02))
        except OSError:
            return
        if how == "reset":
            self._wire.reset()


async def work(job: Job) -> None:
    """Run the upstreams, and have clients leave them."""
    listeners = [WireListener(port=port) for port in job.ports]
    with closed_port() as closed:
        world = AbortedWorld(job.proxy, job.ports, closed, job.first)
        upstreams = [Upstream(world, listener).serve() for listener in listeners]
        async with in_background(*upstreams, keep_telling(lambda: told(world), job.every)):
            await Aborts(world, job).run()
            # Whoever serves one of the last is to see its end.
            await asyncio.sleep(1)
    for listener in listeners:
        listener.close()
    say(told(world) | {"over": True})


if __name__ == "__main__":
    run_job(work)
