"""The open connections of one worker, their exchanges, and the list of them for `/connections`.

Without lingering closes, whose exchanges are over: neither the count nor the list has them. Changes
nothing. Neighbour: `snapshot.py` counts everything else.
"""

import heapq
import os
from typing import TYPE_CHECKING, NamedTuple

from cmux_proxy.downstream.http1_connection import Http1Connection
from cmux_proxy.observe.record import HTTP_2, Record
from cmux_proxy.observe.record_fields import ConnectionFields, connection_fields
from cmux_proxy.relay.exchange import Exchange
from cmux_proxy.relay.services import Services
from cmux_proxy.relay.tunnel import Tunnel

if TYPE_CHECKING:
    from cmux_proxy.downstream.http2_connection import Http2Connection


class Moment(NamedTuple):
    """One moment by three clocks: in seconds since 1970, of the records, and of the event loop."""

    time: float
    records: float
    loop: float

    def epoch(self, at: float) -> float:
        """Return a time of the records' clock in seconds since 1970."""
        return self.time - (self.records - at)

    def loop_epoch(self, at: float) -> float:
        """Return a time of the event loop's clock in seconds since 1970."""
        return self.time - (self.loop - at)


class OpenConnections:
    """The connections at one moment; the registry knows them by their deadlines only."""

    def __init__(self, services: Services, moment: Moment) -> None:
        registry = services.registry
        self._moment = moment
        self._clients = [one for one in registry.clients if isinstance(one, Http1Connection)]
        self._http2 = _http2_connections(services)
        self.tunnels = [one for one in registry.tunnels if isinstance(one, Tunnel)]
        self._stream_tunnels = registry.budget.tunnels

    def count(self) -> int:
        """Return how many connections clients have."""
        tunnels = len(self.tunnels) - self._stream_tunnels
        return len(self._clients) + len(self._http2) + tunnels

    def count_http2(self) -> int:
        """Return how many of them are of HTTP/2."""
        return len(self._http2)

    def count_streams(self) -> int:
        """Return how many streams those have, tunnels included."""
        return sum(len(connection.clients()) for connection in self._http2)

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges under way."""
        streams = [client for connection in self._http2 for client in connection.clients()]
        exchanges = [client.exchange for client in self._clients]
        exchanges += [client.exchange for client in streams]
        return [exchange for exchange in exchanges if exchange is not None]

    def listed(self, count: int) -> list[ConnectionFields]:
        """Return at most so many of them, the oldest tunnels first."""
        oldest = heapq.nsmallest(count, self.tunnels, key=_started)
        fields = [
            self._tunnel(tunnel, tunnel.record) for tunnel in oldest if tunnel.record is not None
        ]
        for connection in self._http2:
            if len(fields) < count:
                fields += self._of_http2(connection)[: count - len(fields)]
        return fields + [self._client(client) for client in self._clients[: count - len(fields)]]

    def _client(self, client: Http1Connection) -> ConnectionFields:
        since = self._moment.loop_epoch(client.since)
        record = None if client.exchange is None else client.exchange.record()
        if record is None:
            return {"state": "idle", "since": since, "client": client.address() or None}
        return connection_fields("request", since, record, self._moment.records)

    def _tunnel(self, tunnel: Tunnel, record: Record) -> ConnectionFields:
        received, sent = tunnel.moved()
        since = self._moment.epoch(record.started)
        fields = connection_fields("tunnel", since, record, self._moment.records)
        fields["bytes_in"] += received
        fields["bytes_out"] += sent
        return _with_stream(fields, tunnel.client.transport.get_extra_info("http2"))

    def _of_http2(self, connection: "Http2Connection") -> list[ConnectionFields]:
        """Return a connection, and behind it those of its streams that are not tunnels."""
        clients = connection.clients()
        fields: list[ConnectionFields] = [
            {
                "state": "open" if clients else "idle",
                "since": self._moment.loop_epoch(connection.since),
                "client": connection.address() or None,
                "protocol": HTTP_2,
                "connection": _name(connection.number()),
                "streams": len(clients),
            }
        ]
        for client in clients:
            record = None if client.exchange is None else client.exchange.record()
            if record is not None:
                since = self._moment.epoch(record.started)
                stream = connection_fields("request", since, record, self._moment.records)
                fields.append(_with_stream(stream, client.stream.get_extra_info("http2")))
        return fields


def _http2_connections(services: Services) -> "list[Http2Connection]":
    """Return the connections of HTTP/2, whose modules are loaded by the first of them."""
    if services.http2 is None:
        return []
    from cmux_proxy.downstream.http2_connection import Http2Connection

    return [one for one in services.registry.clients if isinstance(one, Http2Connection)]


def _with_stream(fields: ConnectionFields, numbers: tuple[int, int] | None) -> ConnectionFields:
    """Add the names of a connection and a stream, if the exchange is on a stream."""
    if numbers is not None:
        fields["connection"] = _name(numbers[0])
        fields["stream"] = numbers[1]
    return fields


def _name(number: int) -> str:
    """Return the name of a connection, which no other worker has for one of its own."""
    return f"{os.getpid()}-{number}"


def _started(tunnel: Tunnel) -> float:
    return 0.0 if tunnel.record is None else tunnel.record.started
