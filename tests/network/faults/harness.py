"""Where faults happen: a service behind the proxy, and clients that must not notice them.

The target of a request names its handler and has a unique mark. The clients that meet a fault and
the bystanders send requests for the same port, so they share the connections of the proxy's pool.
"""

import asyncio
import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Final, NamedTuple

from tests.helpers.messages import Message, Reader
from tests.helpers.origins import Origin, OriginConnection, http_response, origin
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.network.faults.content import expect_response, mark_of, upload, usual_response
from tests.network.mixed_load.wires import LeanWire

# Clients that meet no fault, and clients that meet the same fault at the same time.
BYSTANDERS: Final = 4
AT_ONCE: Final = 6


class Arrival(NamedTuple):
    """A request that has reached the service; its client may set `client_noticed`."""

    connection: OriginConnection
    request: Message
    mark: str
    client_noticed: asyncio.Event


# What the service does with a request; False closes the connection.
Handler = Callable[[Arrival], Awaitable[bool]]


class Fault(NamedTuple):
    """What a client does and must receive, and the service's handler, if it is not `responds`.

    `timeout` is the field of Timeouts that ends the fault. With `closes_idle`, connections close
    while they are idle, so that bystanders send only requests that may be retried. With
    `is_exclusive`, there are no bystanders.
    """

    client: "Callable[[Harness, Reader, str], Awaitable[None]]"
    handler: Handler | None = None
    timeout: str | None = None
    times: int = 24
    closes_idle: bool = False
    is_exclusive: bool = False


class Harness:
    """The service and the clients; `request_counts` counts the service's requests by mark."""

    def __init__(self, proxy_port: int) -> None:
        self.proxy_port = proxy_port
        self.request_counts: Counter[str] = Counter()
        self._arrivals: dict[str, Arrival] = {}
        self._has_arrived: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.service: Origin
        self._may_post = True
        self._handlers: dict[str, Handler] = {}
        # Connections whose last request has no complete response.
        self._unfinished: set[OriginConnection] = set()
        self._marks = itertools.count()

    async def run(self, faults: Mapping[str, Fault], times: int | None = None) -> None:
        """Repeat faults while bystanders send requests; fail if a bystander notices anything."""
        is_done = asyncio.Event()
        is_exclusive = any(fault.is_exclusive for fault in faults.values())
        self._may_post = not any(fault.closes_idle for fault in faults.values())
        async with asyncio.TaskGroup() as group:
            for _ in range(0 if is_exclusive else BYSTANDERS):
                group.create_task(self._keep_requesting(is_done))
            await self._play_all(faults, times)
            is_done.set()
        for connection in self._unfinished:
            await later(connection.is_closed.wait())
        await self.serves()

    def add_handler(self, name: str, handle: Handler) -> None:
        """Let the service handle requests whose target has this name."""
        self._handlers[name] = handle

    async def serves(self) -> None:
        """Fail unless a new client is served."""
        async with self.client() as reader:
            await self.exchange(reader)

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

    async def arrival(self, path: str) -> Arrival:
        """Return the request with this path; waits until it has reached the service."""
        mark = mark_of(path)
        await soon(self._has_arrived[mark].wait())
        return self._arrivals[mark]

    async def exchange(self, reader: Reader) -> None:
        """Send a usual request; fail unless exactly its response arrives."""
        mark = self.mark()
        body = upload(mark) if self._may_post else b""
        line = f"{'POST' if body else 'GET'} /usual/{mark}"
        fields = [f"Content-Length: {len(body)}"] if body else []
        await reader.wire.send(self.request(line, *fields) + body)
        expect_response(await later(reader.response()), usual_response(mark))

    async def serve(self, connection: OriginConnection) -> None:
        """Handle each request with the handler that its target names."""
        while (request := await connection.head()) is not None:
            _, name, mark = request.target.split("/")
            self.request_counts[mark] += 1
            arrival = Arrival(connection, request, mark, asyncio.Event())
            self._arrivals[mark] = arrival
            self._has_arrived[mark].set()
            self._unfinished.add(connection)
            if not await self._handlers.get(name, responds)(arrival):
                return
            self._unfinished.discard(connection)

    async def _keep_requesting(self, is_done: asyncio.Event) -> None:
        while not is_done.is_set():
            async with self.client() as reader:
                for _ in range(8):
                    await self.exchange(reader)

    async def _play_all(self, faults: Mapping[str, Fault], times: int | None) -> None:
        async with asyncio.TaskGroup() as group:
            for number, fault in enumerate(faults.values()):
                name = f"fault-{number}"
                self.add_handler(name, fault.handler or responds)
                rounds = iter(range(times or fault.times))
                for _ in range(1 if fault.is_exclusive else AT_ONCE):
                    group.create_task(self._play(name, fault, rounds))

    async def _play(self, name: str, fault: Fault, rounds: Iterator[int]) -> None:
        for _ in rounds:
            async with self.client() as reader:
                await later(fault.client(self, reader, f"/{name}/{self.mark()}"))


@contextlib.asynccontextmanager
async def harness(proxy_port: int) -> AsyncIterator[Harness]:
    """Run the service behind a proxy."""
    on = Harness(proxy_port)
    async with origin(on.serve) as on.service:
        yield on


async def responds(arrival: Arrival) -> bool:
    """Send the usual response, or a 500 if the body belongs to another request."""
    connection, request, mark, _ = arrival
    await connection.body(request)
    has_its_body = request.method == "GET" or request.body == upload(mark)
    await connection.send(
        usual_response(mark) if has_its_body else http_response(b"", status="500 Another Body")
    )
    return True
