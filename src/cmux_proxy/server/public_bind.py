"""Whether an address is bound publicly, so that other machines reach the proxy without a check."""

from collections.abc import Sequence

from cmux_proxy.config.address import Address
from cmux_proxy.config.sections import Access
from cmux_proxy.config.tls_section import Tls
from cmux_proxy.config.values import plain_address


def unprotected_addresses(addresses: Sequence[Address], access: Access, tls: Tls) -> list[Address]:
    """Return the addresses that other machines reach, if no token, port or client rule applies."""
    if access.tokens or access.allow_ports or access.deny_ports or access.allow_clients:
        return []
    if tls.requires_client_certificates():
        return []
    return [address for address in addresses if _is_public(address)]


def is_admin_unprotected(address: Address, access: Access) -> bool:
    """Return whether other machines reach the admin listener, which only a token can protect."""
    return not access.tokens and _is_public(address)


def _is_public(address: Address) -> bool:
    return not address.path and not plain_address(address.host).is_loopback
