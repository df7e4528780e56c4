"""Forwards DNS queries for the nameservers on loopback addresses, such as systemd-resolved's.

/etc/resolv.conf names 127.0.0.53 inside a namespace as well, where nothing listens. A forwarder
listens there and passes queries on to the nameserver of the outbound network; over UDP only, which
nearly all resolvers use. Does not parse DNS messages.
"""

import ipaddress
import selectors
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

from cmux_proxy.isolation.outbound import NAMESERVER

_RESOLV_CONF: Final = "/etc/resolv.conf"
_PORT: Final = 53
_MAX_DATAGRAM_SIZE: Final = 65535
_MAX_CLIENTS: Final = 64


def start_dns_forwarders(
    selector: selectors.BaseSelector, nameservers: Sequence[str], port: int = _PORT
) -> None:
    """Listen at the addresses of these nameservers, and register the sockets' callbacks."""
    for nameserver in nameservers:
        family = socket.AF_INET6 if ":" in nameserver else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.bind((nameserver, port))
        except OSError:
            sock.close()
        else:
            DnsForwarder(selector, sock, (NAMESERVER, _PORT))


def read_loopback_nameservers(path: str = _RESOLV_CONF) -> list[str]:
    """Return the nameservers of a resolv.conf that are loopback addresses."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    nameservers = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
    return [nameserver for nameserver in nameservers if _is_loopback(nameserver)]


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


class DnsForwarder:
    """Forwards datagrams from one socket to a nameserver, and the responses to their clients."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        sock: socket.socket,
        nameserver: tuple[str, int],
        max_clients: int = _MAX_CLIENTS,
    ) -> None:
        self._selector = selector
        self._sock = sock
        self._nameserver = nameserver
        self._max_clients = max_clients
        # A socket for each client address, the most recently used last.
        self._upstreams: dict[tuple[str, int], socket.socket] = {}
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, self._forward_query)

    def _forward_query(self, sock: socket.socket) -> None:
        try:
            query, client = sock.recvfrom(_MAX_DATAGRAM_SIZE)
            self._upstream_for(client).send(query)
        except OSError:
            return  # the client sends the query again

    def _upstream_for(self, client: tuple[str, int]) -> socket.socket:
        upstream = self._upstreams.pop(client, None)
        if upstream is None:
            self._make_room()
            upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            upstream.setblocking(False)
            upstream.connect(self._nameserver)
            callback = partial(self._forward_response, client)
            self._selector.register(upstream, selectors.EVENT_READ, callback)
        self._upstreams[client] = upstream
        return upstream

    def _make_room(self) -> None:
        if len(self._upstreams) >= self._max_clients:
            oldest = self._upstreams.pop(next(iter(self._upstreams)))
            self._selector.unregister(oldest)
            oldest.close()

    def _forward_response(self, client: tuple[str, int], upstream: socket.socket) -> None:
        try:
            self._sock.sendto(upstream.recv(_MAX_DATAGRAM_SIZE), client)
        except OSError:
            return
