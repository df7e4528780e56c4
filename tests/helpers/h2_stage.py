"""A proxy, its client over HTTP/2, and one upstream, over real sockets."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from cmux_proxy import Observability, Proxy, Record
from cmux_proxy.observe.worker_stats import WorkerStats
from tests.helpers.h2_peer import Fields, H2Peer, fields
from tests.helpers.proxies import local_config
from tests.helpers.script import head
from tests.helpers.timing import soon
from tests.helpers.wire import Wire, WireListener

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


class ObservedStage:
    """A proxy whose exchanges are counted and recorded."""

    def __init__(
        self, proxy: Proxy, client: H2Peer, listener: WireListener, records: list[Record]
    ) -> None:
        self.proxy = proxy
        self.client = client
        self.listener = listener
        self.records = records

    @property
    def port(self) -> int:
        """The upstream's port."""
        return self.listener.port

    async def accept(self) -> Wire:
        """Return the next connection to the upstream, once its request has begun to arrive."""
        return await soon(self.listener.accept())

    async def connect(self) -> H2Peer:
        """Return another client."""
        return await H2Peer.to(self.proxy.addresses[0].port)

    async def ask(self, *more: tuple[str, str], path: str = "/") -> tuple[int, Wire]:
        """Send a request; return its stream, and the upstream's connection that has read it."""
        stream = await self.client.ask(fields(self.port, "GET", path, *more))
        upstream = await self.accept()
        await soon(upstream.receive())
        return stream, upstream

    def websocket(self, path: str = "/ws") -> Fields:
        """Return the fields of a request for a WebSocket (RFC 8441)."""
        return [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", path), (":authority", "a"), ("sec-websocket-version", "13"),
            ("x-cmux-port-internal", str(self.port)),
        ]  # fmt: skip

    def stats(self, max_connections: int = 100) -> WorkerStats:
        """Return the worker's statistics."""
        return self.proxy.stats(max_connections)


@contextlib.asynccontextmanager
async def observed_stage(**options: Any) -> AsyncIterator[ObservedStage]:
    """Start a proxy with these options, and connect to it."""
    records: list[Record] = []
    observability = Observability(admin="127.0.0.1:1", access_log="all")
    config = local_config(**{"observability": observability, **options})
    with contextlib.closing(WireListener()) as listener:
        async with Proxy(config, on_record=records.append) as proxy:
            with await H2Peer.to(proxy.addresses[0].port) as client:
                yield ObservedStage(proxy, client, listener, records)
