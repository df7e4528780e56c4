"""Which of the pool's connections a dialer uses; dials themselves are in `test_dial.py`."""

import asyncio
import contextlib

from cmux_proxy.net.asyncio_backend import is_asyncio
from cmux_proxy.net.backends import AsyncioBackend
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial import DialFactory
from cmux_proxy.upstream.dialer import Dialer
from cmux_proxy.upstream.pool import Pool
from tests.helpers.fakes import FakeStream, World
from tests.helpers.timing import SOON
from tests.helpers.wire import WireListener
from tests.upstream.test_connector import Machine, peer_port, tries


def dialer(connector: Connector) -> tuple[Pool[UpstreamConnection], Dialer]:
    loop = asyncio.get_running_loop()
    pool: Pool[UpstreamConnection] = Pool(9, 1.0)
    return pool, Dialer(
        DialFactory(AsyncioBackend(loop), pool, connector, ReadSize(is_asyncio(loop), 1024), SOON)
    )


def leased(host: str, pool: Pool[UpstreamConnection], address: str | None) -> UpstreamConnection:
    """Return an idle connection that leads to an address."""
    world = World()
    connection = UpstreamConnection(Target(host, 80), pool, world.services.read_size)
    connection.address = address
    connection.transport = FakeStream(world, "upstream")
    return connection


async def test_connections_to_addresses_that_a_name_no_longer_has_are_closed() -> None:
    machine = Machine(addresses=[("127.0.0.2", 0)])
    connector = tries(machine)
    with contextlib.closing(WireListener("127.0.0.2")) as listener:
        await peer_port(connector, "some.example", listener.port)
    pool, made = dialer(connector)
    addresses = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]
    idle = [leased("some.example", pool, address) for address in addresses]
    for connection in idle[:2]:
        pool.give_back(pool.target_pool(connection.target), connection, 0.0)
    assert made.revalidate(idle[2]) is idle[0]
    assert [connection.transport.is_closing() for connection in idle] == [False, True, True]
    assert made.revalidate(leased("gone.example", pool, "127.0.0.2")) is None


async def test_connections_to_an_address_are_not_looked_up() -> None:
    machine = Machine()
    pool, made = dialer(tries(machine))
    connection = leased("127.0.0.2", pool, None)
    assert made.revalidate(connection) is connection
    assert machine.look_ups == 0
