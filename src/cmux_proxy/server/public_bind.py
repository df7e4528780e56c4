"""Who can reach the proxy: is an address bound for everybody, with nothing that keeps them out?"""

from collections.abc import Sequence

from cmux_proxy.config.proxy_config import Address
from cmux_proxy.config.sections import Access
from cmux_proxy.config.values import plain_address


def reachable_by_all(addresses: Sequence[Address], access: Access) -> list[Address]:
    """Return those that other machines reach, unless a token, ports or clients are asked for."""
    if access.tokens or access.allow_ports or access.deny_ports or access.allow_clients:
        return []
    return [one for one in addresses if _is_reached_by_others(one)]


def admin_seen_by_all(address: Address, access: Access) -> bool:
    """Return whether other machines see the admin listener, which nothing but a token restricts."""
    return not access.tokens and _is_reached_by_others(address)


def _is_reached_by_others(address: Address) -> bool:
    return not address.path and not plain_address(address.host).is_loopback
