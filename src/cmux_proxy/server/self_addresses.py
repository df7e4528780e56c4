"""Whether an address is one of the proxy's own listeners: a request to itself would loop forever.

Does not know requests. `upstream` checks addresses before it connects.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Sequence

from cmux_proxy.config.address import IPV4_WILDCARD, IPV6_WILDCARD, Address
from cmux_proxy.config.values import plain_address
from cmux_proxy.net.ipv6_zone import interface_index, to_sockaddr
from cmux_proxy.net.loopback import reached_host


class SelfAddresses:
    """The addresses at which one proxy is reachable; "::" stands for IPv6 alone."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._ports = {address.port for address in addresses}
        self._addresses = [Address(_normalize(address.host), address.port) for address in addresses]

    def covers(self, host: str, port: int) -> bool:
        """Return whether a connection to this IP address and port would reach the proxy."""
        if port not in self._ports:
            return False
        target = _normalize(host)
        return any(
            self._accepts(address.host, target)
            for address in self._addresses
            if address.port == port
        )

    def _accepts(self, bound: str, target: str) -> bool:
        if bound == target:
            return True
        # A connection to a wildcard address reaches the loopback of its family.
        target = reached_host(target)
        if bound == target:
            return True
        is_v6 = ":" in target
        if bound == IPV6_WILDCARD:
            return is_v6 and _is_local(target)
        return bound == IPV4_WILDCARD and not is_v6 and _is_local(target)


def _normalize(host: str) -> str:
    """Return an address as IPv4 if it is a mapped one, and with its zone as a number."""
    plain, zone = str(plain_address(host)), host.partition("%")[2]
    with contextlib.suppress(OSError):
        return f"{plain}%{interface_index(zone)}" if zone else plain
    return f"{plain}%{zone}"


def _is_local(host: str) -> bool:
    """Return whether this machine has the address, by binding a socket to it."""
    if ipaddress.ip_address(host).is_loopback:
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(to_sockaddr(host, 0))
        except OSError:
            return False
    return True
