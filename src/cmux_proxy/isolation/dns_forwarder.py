"""Nameservers on loopback addresses, such as systemd-resolved's 127.0.0.53, for a namespace.

/etc/resolv.conf names them inside as well, where nobody would answer. What is asked there is passed
on to the address at which the way out answers; over UDP, as nearly everybody asks.
"""

import ipaddress
import selectors
import socket
from functools import partial
from typing import Final

from cmux_proxy.isolation.outbound import NAMESERVER

_RESOLVERS: Final = "/etc/resolv.conf"
_PORT: Final = 53
_LARGEST: Final = 65535
_MOST_ASKERS: Final = 64


def forward_names(selector: selectors.BaseSelector) -> None:
    """Answer for the machine's nameservers on loopback; `selector` has a callback for each file."""
    for nameserver in loopback_nameservers():
        family = socket.AF_INET6 if ":" in nameserver else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.bind((nameserver, _PORT))
        except OSError:
            sock.close()
        else:
            NameForwarder(selector, sock, (NAMESERVER, _PORT))


def loopback_nameservers(path: str = _RESOLVERS) -> list[str]:
    """Return the nameservers on loopback addresses that a resolv.conf has."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    named = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
    return [name for name in named if _is_loopback(name)]


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


class NameForwarder:
    """Passes datagrams on from one socket, and the answers back to whoever asked."""

    def __init__(
        self, selector: selectors.BaseSelector, sock: socket.socket, nameserver: tuple[str, int]
    ) -> None:
        self._selector = selector
        self._sock = sock
        self._nameserver = nameserver
        # The sockets from which is asked, by who asks there, the latest last.
        self._asking: dict[tuple[str, int], socket.socket] = {}
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, self._pass_on)

    def _pass_on(self, sock: socket.socket) -> None:
        try:
            question, asker = sock.recvfrom(_LARGEST)
            self._socket_for(asker).send(question)
        except OSError:
            return  # a datagram may be lost

    def _socket_for(self, asker: tuple[str, int]) -> socket.socket:
        sock = self._asking.pop(asker, None)
        if sock is None:
            self._make_room()
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.connect(self._nameserver)
            self._selector.register(sock, selectors.EVENT_READ, partial(self._pass_back, asker))
        self._asking[asker] = sock
        return sock

    def _make_room(self) -> None:
        if len(self._asking) >= _MOST_ASKERS:
            oldest = self._asking.pop(next(iter(self._asking)))
            self._selector.unregister(oldest)
            oldest.close()

    def _pass_back(self, asker: tuple[str, int], sock: socket.socket) -> None:
        try:
            self._sock.sendto(sock.recv(_LARGEST), asker)
        except OSError:
            return
