"""What listens -> whether the proxy gets there, by which target, and by which host.

Knows the configuration and where workspaces are; asks nobody.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from cmux_proxy.config.host_names import DNS_LABEL
from cmux_proxy.config.proxy_config import Address, Config
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.routing.workspace import workspace_ip, workspace_number


class Reachability(NamedTuple):
    """How a proxy is reached, and what it reaches.

    `addresses` are those that it listens on, `admin` is that of its admin listener, `suffixes` are
    the domains below which a host names a port. None as `upstream_host` is the default one. With
    `has_machines` a workspace is another machine.
    """

    addresses: Sequence[Address] = ()
    admin: Address | None = None
    suffixes: Sequence[str] = ()
    upstream_host: str | None = None
    has_machines: bool = False

    @classmethod
    def of(cls, config: Config, addresses: Sequence[Address]) -> "Reachability":
        """Return that of a proxy that listens at these addresses; its admin address is bound."""
        admin = config.observability.admin
        return cls(
            addresses=addresses,
            admin=None if admin is None else Address.parse(admin),
            suffixes=config.routing.suffixes(),
            upstream_host=config.upstream_host,
            has_machines=config.routing.workspace_host is not None,
        )

    def target_host(self, each: ListeningPort) -> str | None:
        """Return the host by which requests come to what listens, None if they do not."""
        if each.workspace is None:
            hosts = self._upstream_hosts()
            return hosts[0] if any(map(each.covers, hosts)) else None
        if self.has_machines:
            return None
        if not is_isolated(each):
            return each.address
        try:
            own = workspace_ip(each.workspace)
        except ValueError:
            return None
        return own if any(map(each.covers, (*LOOPBACKS, own))) else None

    def owner(self, each: ListeningPort) -> str | None:
        """Return "proxy" or "admin" for the proxy's own listeners, None for all others."""
        address = Address(each.address, each.port)
        if address == self.admin:
            return "admin"
        return "proxy" if address in self.addresses else None

    def label(self, host: str, port: int, workspace: str | None) -> str | None:
        """Return the first label of a host that leads to a target, None if there is none."""
        if host == self._upstream_hosts()[0]:
            return str(port)
        number = None if self.has_machines else workspace_number(host)
        # The number leads to the same address, and is always a label.
        for name in (workspace, None if number is None else str(number)):
            label = f"{name.lower()}-{port}" if name is not None else ""
            if DNS_LABEL.fullmatch(label):
                return label
        return None

    def local_port(self) -> int | None:
        """Return the port at which a browser on this machine finds the proxy, None if none."""
        found = [one for one in self.addresses if one.port and _is_local(one.host)]
        return found[0].port if found else None

    def _upstream_hosts(self) -> tuple[str, ...]:
        if self.upstream_host is None:
            return LOOPBACKS
        if self.upstream_host == "localhost":
            return (self.upstream_host, *LOOPBACKS)
        return (self.upstream_host,)


UNKNOWN: Final = Reachability()


def is_isolated(each: ListeningPort) -> bool:
    """Return whether what listens has a workspace that is not told by its address."""
    number = workspace_number(each.address)
    return each.workspace is not None and each.workspace != str(number)


def is_here(host: str) -> bool:
    """Return whether a host is this machine for certain."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_local(host: str) -> bool:
    """Return whether the names below .localhost lead here: to 127.0.0.1 and ::1."""
    return host in ("0.0.0.0", "::", *LOOPBACKS)  # noqa: S104
