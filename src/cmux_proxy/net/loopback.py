"""The addresses at which this machine reaches itself. Does not know sockets."""

from typing import Final

from cmux_proxy.config.address import IPV4_WILDCARD, IPV6_WILDCARD

IPV4_LOOPBACK: Final = "127.0.0.1"
IPV6_LOOPBACK: Final = "::1"
LOOPBACKS: Final = (IPV4_LOOPBACK, IPV6_LOOPBACK)

_OF_WILDCARDS: Final = {IPV4_WILDCARD: IPV4_LOOPBACK, IPV6_WILDCARD: IPV6_LOOPBACK}
_PREFIXES: Final = ("127.", "::ffff:127.")


def is_loopback(host: str) -> bool:
    """Return whether an IP address, or the name localhost, leads to this machine."""
    return host in (IPV6_LOOPBACK, "localhost") or host.startswith(_PREFIXES)


def reached_host(bound: str) -> str:
    """Return where this machine reaches a socket that is bound to an address.

    That is the loopback for the wildcard address of its family, otherwise the address itself.
    """
    return _OF_WILDCARDS.get(bound, bound)
