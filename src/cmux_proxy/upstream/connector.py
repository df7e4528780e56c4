"""Connects a socket to one of the addresses of a target.

Knows their order, and on what the proxy itself listens. Neighbours: `dns_cache.py` has the
addresses of names, `namespace_connect.py` reaches into isolated workspaces, `net/tcp_connect.py`
connects one socket and `net/happy_eyeballs.py` the first of several, `connect_errors.py` says what
an error means, `dial.py` makes a connection of the socket.
"""

import socket
from collections.abc import Awaitable, Callable

from cmux_proxy.net.happy_eyeballs import AddressInfo, connect_first
from cmux_proxy.net.loopback import IPV4_LOOPBACK, LOOPBACKS
from cmux_proxy.net.stream import Loop
from cmux_proxy.net.tcp_connect import connect_tuned
from cmux_proxy.routing.target import Target
from cmux_proxy.upstream.connect_errors import own_address, unavailable
from cmux_proxy.upstream.dns_cache import DnsCache, is_name
from cmux_proxy.upstream.namespace_connect import connect_inside, may_be_isolated
from cmux_proxy.upstream.resolver import Resolver

# Connects a new socket to an IP address and a port within some seconds, or closes it and raises.
Connect = Callable[[Loop, socket.socket, str, int, float | None], Awaitable[None]]


class Connector:
    """Tries the addresses of targets.

    With `tries_both_loopbacks`, a target on 127.0.0.1 that refuses is tried on ::1, and the address
    that has accepted is tried first the next time, port by port. `is_own` returns whether the proxy
    itself listens on an address and port.
    """

    __slots__ = ("_connect_socket", "_dns_cache", "_is_own", "_loop", "_loopbacks", "_tries_both")

    def __init__(
        self,
        loop: Loop,
        tries_both_loopbacks: bool,
        is_own: Callable[[str, int], bool],
        dns_cache: DnsCache | None = None,
        connect: Connect = connect_tuned,
    ) -> None:
        self._loop = loop
        self._tries_both = tries_both_loopbacks
        self._is_own = is_own
        self._dns_cache = dns_cache or DnsCache(loop, Resolver(loop).look_up)
        self._connect_socket = connect
        # The loopback that has accepted last, by port.
        self._loopbacks: dict[int, str] = {}

    def close(self) -> None:
        """Cancel look-ups; callers that wait for a socket must be cancelled before."""
        self._dns_cache.close()

    def has_address(self, target: Target, address: str) -> bool:
        """Return whether the target's name still has an address."""
        return self._dns_cache.has_address(target.host, address)

    async def open_socket(self, target: Target, timeout: float | None = None) -> socket.socket:
        """Return a connected socket; raise UpstreamUnavailable.

        Raises ConnectTimeout where an address has not accepted within `timeout` seconds.
        """
        try:
            return await self._connect(target, timeout)
        except (OSError, UnicodeError, RuntimeError, MemoryError) as error:
            raise unavailable(target, error) from None

    async def _connect(self, target: Target, timeout: float | None) -> socket.socket:
        if self._tries_both and target.host == IPV4_LOOPBACK:
            return await self._connect_loopback(target.port, timeout)
        if is_name(target.host):
            return await self._connect_name(target, timeout)
        if may_be_isolated(target.host):
            inside = await connect_inside(self._loop, target.host, target.port, timeout)
            if inside is not None:
                return inside
        return await self._connect_address(target.host, target.port, timeout)

    async def _connect_loopback(self, port: int, timeout: float | None) -> socket.socket:
        first = self._loopbacks.get(port, IPV4_LOOPBACK)
        [second] = [host for host in LOOPBACKS if host != first]
        try:
            return await self._connect_address(first, port, timeout)
        except ConnectionRefusedError as refused:
            try:
                sock = await self._connect_address(second, port, timeout)
            except OSError:
                raise refused from None
        self._loopbacks[port] = second
        return sock

    async def _connect_address(self, host: str, port: int, timeout: float | None) -> socket.socket:
        self._refuse_own(host, port)
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        await self._connect_socket(self._loop, sock, host, port, timeout)
        return sock

    async def _connect_name(self, target: Target, timeout: float | None) -> socket.socket:
        """Try a name's addresses; where they come from the cache and fail, look it up again."""
        resolved = await self._dns_cache.resolve(target.host, target.port)
        try:
            return await self._connect_any(resolved.infos, target.port, timeout)
        except OSError:
            if resolved.is_fresh:
                raise
            refreshed = await self._dns_cache.refresh(target.host, target.port)
            # Resolvers return the same addresses in changing order.
            if set(refreshed.infos) == set(resolved.infos):
                raise
        return await self._connect_any(refreshed.infos, target.port, timeout)

    async def _connect_any(
        self, infos: list[AddressInfo], port: int, timeout: float | None
    ) -> socket.socket:
        """Try addresses as RFC 8305 says: families take turns, and slow ones are not waited for."""
        if len(infos) == 1 and infos[0][0] == socket.AF_INET:
            return await self._connect_address(str(infos[0][4][0]), port, timeout)
        for info in infos:
            self._refuse_own(str(info[4][0]), port)
        return await connect_first(self._loop, infos, port, timeout)

    def _refuse_own(self, host: str, port: int) -> None:
        if self._is_own(host, port):
            raise own_address(port)
