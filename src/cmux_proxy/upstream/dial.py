"""One attempt to open a connection to a target, in the background.

Whatever ends it, its owner is told. Neighbours: `dialer.py` owns it, `connector.py` finds an
address that answers, `connection.py` is what comes out.
"""

from time import monotonic

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.net.asyncio_backend import open_stream, start_task
from cmux_proxy.net.read_buffer import ReadSize
from cmux_proxy.net.stream import Handle, Loop
from cmux_proxy.net.tcp_connect import ConnectTimeout
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connect_errors import unavailable
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.connector import Connector
from cmux_proxy.upstream.dial_owner import DialOwner
from cmux_proxy.upstream.dns_cache import named_address
from cmux_proxy.upstream.pool import UNLIMITED, Pool


class Dialling:
    """What all dials of one event loop have in common.

    A request waits at most `timeout` seconds for its connection, and a target has at most
    `most_connections` at a time.
    """

    __slots__ = ("addresses", "loop", "most_connections", "pool", "read_size", "timeout")

    def __init__(
        self,
        loop: Loop,
        pool: Pool[UpstreamConnection],
        addresses: Connector,
        read_size: ReadSize,
        timeout: float,
        most_connections: int | None = None,
    ) -> None:
        self.loop = loop
        self.pool = pool
        self.addresses = addresses
        self.read_size = read_size
        self.timeout = timeout
        self.most_connections = UNLIMITED if most_connections is None else most_connections

    def begin(self, target: Target, owner: DialOwner, covers: int, grace: float | None) -> "Dial":
        """Begin a dial."""
        return Dial(self, target, owner, covers, grace)

    def leads_there(self, connection: UpstreamConnection) -> bool:
        """Return whether a connection leads where the name of its target leads now."""
        address = connection.address
        return address is None or self.addresses.has(connection.target, address)


class Dial:
    """A dial under way, for the requests up to number `covers`, which began at `begun`.

    One that is still opening its socket can be abandoned, and tells nothing then.
    """

    __slots__ = ("_dialling", "_owner", "_target", "_task", "begun", "covers", "is_opening")

    def __init__(
        self,
        dialling: Dialling,
        target: Target,
        owner: DialOwner,
        covers: int,
        grace: float | None,
    ) -> None:
        self._dialling = dialling
        self._target = target
        self._owner = owner
        self.covers = covers
        self.begun = dialling.loop.time()
        self.is_opening = True
        self._task: Handle | None = start_task(dialling.loop, self._run(grace))

    def abandon(self) -> None:
        """Give up."""
        if self._task is not None:
            self._task.cancel()
            # The exception that ends it keeps us, so it must not be kept, or both would wait for
            # the garbage collector.
            self._task = None

    async def _run(self, grace: float | None) -> None:
        try:
            await self._open(grace)
        except ConnectTimeout:
            self._owner.dial_unanswered(self)
        except UpstreamUnavailable as error:
            self._owner.dial_failed(self, error)
        except Exception as error:
            self._owner.dial_failed(self, unavailable(self._target, error))

    async def _open(self, grace: float | None) -> None:
        dialling = self._dialling
        # The loop's clock is too coarse for this.
        begun = monotonic()
        sock = await dialling.addresses.open_socket(self._target, grace)
        self.is_opening = False
        connection = UpstreamConnection(self._target, dialling.pool, dialling.read_size)
        connection.dialled_for = monotonic() - begun
        connection.address = named_address(self._target.host, sock)
        # The connection itself tells when it is made, so that no byte comes too soon.
        connection.on_made = self._made
        self._owner.dial_opened(self, connection.dialled_for)
        await open_stream(dialling.loop, sock, connection)

    def _made(self, connection: UpstreamConnection) -> None:
        self._owner.dial_connected(self, connection)
