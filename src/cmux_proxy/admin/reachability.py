"""Reachability: whether the proxy reaches what listens, by which target and by which host name.

Knows the configuration and the addresses of workspaces. Connects to nothing.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from cmux_proxy.config.address import WILDCARDS, Address
from cmux_proxy.config.host_names import DNS_LABEL
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.routing.workspace import workspace_ip, workspace_number


class Reachability(NamedTuple):
    """Where a proxy listens, and what it connects to.

    `addresses` are those of the proxy, `admin` is that of its admin listener, `suffixes` are the
    domains below which a host names a port. None as `upstream_host` means the default, which is
    both loopbacks. With `has_machines` every workspace is another machine.
    """

    addresses: Sequence[Address] = ()
    admin: Address | None = None
    suffixes: Sequence[str] = ()
    upstream_host: str | None = None
    has_machines: bool = False

    @classmethod
    def of(cls, config: Config, addresses: Sequence[Address]) -> "Reachability":
        """Return that of a proxy that listens at `addresses`; its admin listener is bound."""
        admin = config.observability.admin
        return cls(
            addresses=addresses,
            admin=None if admin is None else Address.parse(admin),
            suffixes=config.routing.suffixes(),
            upstream_host=config.upstream_host,
            has_machines=config.routing.workspace_host is not None,
        )

    def target_host(self, socket: ListeningPort) -> str | None:
        """Return the host at which the proxy reaches a listening socket; None if it does not."""
        if socket.workspace is None:
            hosts = self._upstream_hosts()
            return hosts[0] if any(map(socket.covers, hosts)) else None
        if self.has_machines:
            return None
        if not is_isolated(socket):
            return socket.address
        try:
            address = workspace_ip(socket.workspace)
        except ValueError:
            return None
        return address if any(map(socket.covers, (*LOOPBACKS, address))) else None

    def owner(self, socket: ListeningPort) -> str | None:
        """Return "proxy" or "admin" for the proxy's own listeners, None for all others."""
        address = Address(socket.address, socket.port)
        if address == self.admin:
            return "admin"
        return "proxy" if address in self.addresses else None

    def label(self, host: str, port: int, workspace: str | None) -> str | None:
        """Return the first label of a host name that leads to a target, None if there is none."""
        if host == self._upstream_hosts()[0]:
            return str(port)
        number = None if self.has_machines else workspace_number(host)
        # The number leads to the same address, and always makes a valid label.
        for name in (workspace, None if number is None else str(number)):
            label = f"{name.lower()}-{port}" if name is not None else ""
            if DNS_LABEL.fullmatch(label):
                return label
        return None

    def local_port(self) -> int | None:
        """Return the port at which a browser on this machine reaches the proxy; None if none."""
        ports = [
            address.port for address in self.addresses if address.port and _is_localhost(address)
        ]
        return ports[0] if ports else None

    def _upstream_hosts(self) -> tuple[str, ...]:
        if self.upstream_host is None:
            return LOOPBACKS
        if self.upstream_host == "localhost":
            return (self.upstream_host, *LOOPBACKS)
        return (self.upstream_host,)


UNKNOWN: Final = Reachability()


def is_isolated(socket: ListeningPort) -> bool:
    """Return whether a socket is in a workspace with its own network namespace."""
    number = workspace_number(socket.address)
    return socket.workspace is not None and socket.workspace != str(number)


def is_local(host: str) -> bool:
    """Return whether a host certainly is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_localhost(address: Address) -> bool:
    """Return whether the names below .localhost, which are 127.0.0.1 and ::1, lead there."""
    return address.host in (*WILDCARDS, *LOOPBACKS)
