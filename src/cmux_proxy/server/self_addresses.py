"""Is an address one of the proxy's own listeners? (A request to itself would go round for ever.)"""

import contextlib
import ipaddress
import socket
from collections.abc import Sequence

from cmux_proxy.config.proxy_config import Address
from cmux_proxy.config.values import plain_address
from cmux_proxy.net.ipv6_zone import index_of, to_sockaddr


class OwnAddresses:
    """The addresses at which one proxy is reached; "::" stands for those of IPv6 alone."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._ports = {address.port for address in addresses}
        self._addresses = [Address(_plain(one.host), one.port) for one in addresses]

    def covers(self, host: str, port: int) -> bool:
        """Return whether a connection to this IP address and port would come to the proxy."""
        if port not in self._ports:
            return False
        wanted = _plain(host)
        return any(
            self._reaches(address.host, wanted)
            for address in self._addresses
            if address.port == port
        )

    def _reaches(self, bound: str, wanted: str) -> bool:
        if bound == wanted:
            return True
        # Connecting to a wildcard address reaches the loopback of its family.
        if wanted in ("0.0.0.0", "::"):  # noqa: S104
            wanted = "127.0.0.1" if wanted == "0.0.0.0" else "::1"  # noqa: S104
            if bound == wanted:
                return True
        is_v6 = ":" in wanted
        if bound == "::":
            return is_v6 and _is_local(wanted)
        return bound == "0.0.0.0" and not is_v6 and _is_local(wanted)  # noqa: S104


def _plain(host: str) -> str:
    """Return an address in one form: as one of IPv4 if it is one, its zone as a number."""
    plain, zone = str(plain_address(host)), host.partition("%")[2]
    with contextlib.suppress(OSError):
        return f"{plain}%{index_of(zone)}" if zone else plain
    return f"{plain}%{zone}"


def _is_local(host: str) -> bool:
    """Return whether this machine has the address: only then can it be bound."""
    if ipaddress.ip_address(host).is_loopback:
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(to_sockaddr(host, 0))
        except OSError:
            return False
    return True
