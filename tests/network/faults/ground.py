"""Where faults are met: a service behind the proxy, and clients of it who must not notice.

The target of a request says what happens to it and has a mark of its own. Clients who go on and
those who meet a fault ask for the same port, and so share the connections in the proxy's pool.
"""

import asyncio
import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Final, NamedTuple

from tests.helpers.messages import Message, Reader
from tests.helpers.origins import Origin, Visit, answer, origin
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.network.faults.content import is_this, mark_of, upload, usual_answer
from tests.network.mixed_load.wires import LeanWire

# Clients who go on, and those who meet the same fault at the same time.
BYSTANDERS: Final = 4
AT_ONCE: Final = 6


class Strike(NamedTuple):
    """A request to which something unusual happens; its client may set `is_told`."""

    visit: Visit
    asked: Message
    mark: str
    is_told: asyncio.Event


# What a service does with a request; False is the end of the connection.
Happens = Callable[[Strike], Awaitable[bool]]


class Fault(NamedTuple):
    """What a client does and has to see, and what its service does, if that is unusual.

    `timeout` is the field of Timeouts that the proxy needs to get over it. With `ends_idle`, a
    connection may die while it is idle, so that all others only ask for what may be sent again.
    With `is_alone`, there are no others.
    """

    client: "Callable[[Ground, Reader, str], Awaitable[None]]"
    service: Happens | None = None
    timeout: str | None = None
    times: int = 24
    ends_idle: bool = False
    is_alone: bool = False


class Ground:
    """The proxy's neighbours; `asked` counts the requests that reached the service, by mark."""

    def __init__(self, proxy_port: int) -> None:
        self.proxy_port = proxy_port
        self.asked: Counter[str] = Counter()
        self._strikes: dict[str, Strike] = {}
        self._arrivals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.service: Origin
        self._may_post = True
        self._happens: dict[str, Happens] = {}
        # Connections that may not go on.
        self._struck: set[Visit] = set()
        self._marks = itertools.count()

    async def meets(self, faults: Mapping[str, Fault], times: int | None = None) -> None:
        """Play faults again and again while others go on; fail if these notice anything."""
        ends = asyncio.Event()
        is_alone = any(fault.is_alone for fault in faults.values())
        self._may_post = not any(fault.ends_idle for fault in faults.values())
        async with asyncio.TaskGroup() as group:
            for _ in range(0 if is_alone else BYSTANDERS):
                group.create_task(self._go_on(ends))
            await self._play_all(faults, times)
            ends.set()
        for visit in self._struck:
            await later(visit.is_over.wait())
        await self.serves()

    def does(self, kind: str, happens: Happens) -> None:
        """Have the service do that with requests of this kind."""
        self._happens[kind] = happens

    async def serves(self) -> None:
        """Fail unless a new client is served."""
        async with self.client() as reader:
            await self.ask(reader)

    @contextlib.asynccontextmanager
    async def client(self, buffer: int | None = None) -> AsyncIterator[Reader]:
        """Connect to the proxy."""
        with await LeanWire.to("127.0.0.1", self.proxy_port, buffer) as wire:
            yield Reader(wire)

    def request(self, line: str, *fields: str, port: int | None = None) -> bytes:
        """Return a head for the service, or for another port."""
        route = f"X-Cmux-Port-Internal: {self.service.port if port is None else port}"
        return head(f"{line} HTTP/1.1", "Host: fault.test", route, *fields)

    def mark(self) -> str:
        """Return a mark that no other exchange has."""
        return str(next(self._marks))

    async def struck(self, path: str) -> Strike:
        """Return what happens to a request; waits until it has reached the service."""
        mark = mark_of(path)
        await soon(self._arrivals[mark].wait())
        return self._strikes[mark]

    async def ask(self, reader: Reader) -> None:
        """Ask for something usual; fail unless the answer is the one to this very request."""
        mark = self.mark()
        body = upload(mark) if self._may_post else b""
        line = f"{'POST' if body else 'GET'} /usual/{mark}"
        fields = [f"Content-Length: {len(body)}"] if body else []
        await reader.wire.send(self.request(line, *fields) + body)
        is_this(await later(reader.response()), usual_answer(mark))

    async def serve(self, visit: Visit) -> None:
        """Do with each request what its target says."""
        while (asked := await visit.head()) is not None:
            _, kind, mark = asked.target.split("/")
            self.asked[mark] += 1
            strike = Strike(visit, asked, mark, asyncio.Event())
            self._strikes[mark] = strike
            self._arrivals[mark].set()
            self._struck.add(visit)
            if not await self._happens.get(kind, answers)(strike):
                return
            self._struck.discard(visit)

    async def _go_on(self, ends: asyncio.Event) -> None:
        while not ends.is_set():
            async with self.client() as reader:
                for _ in range(8):
                    await self.ask(reader)

    async def _play_all(self, faults: Mapping[str, Fault], times: int | None) -> None:
        async with asyncio.TaskGroup() as group:
            for number, fault in enumerate(faults.values()):
                kind = f"fault-{number}"
                self.does(kind, fault.service or answers)
                rounds = iter(range(times or fault.times))
                for _ in range(1 if fault.is_alone else AT_ONCE):
                    group.create_task(self._play(kind, fault, rounds))

    async def _play(self, kind: str, fault: Fault, rounds: Iterator[int]) -> None:
        for _ in rounds:
            async with self.client() as reader:
                await later(fault.client(self, reader, f"/{kind}/{self.mark()}"))


@contextlib.asynccontextmanager
async def ground(proxy_port: int) -> AsyncIterator[Ground]:
    """Run the service behind a proxy."""
    on = Ground(proxy_port)
    async with origin(on.serve) as on.service:
        yield on


async def answers(strike: Strike) -> bool:
    """Answer as usual; with a 500 if the body belongs to another request."""
    visit, asked, mark, _ = strike
    await visit.body(asked)
    is_own = asked.method == "GET" or asked.body == upload(mark)
    await visit.say(usual_answer(mark) if is_own else answer(b"", status="500 Another Body"))
    return True
