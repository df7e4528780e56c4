"""The port that the target of a CONNECT names (RFC 9110 section 9.3.6), where no field does.

Neighbour: `port_field.py` reads the field.
"""

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.port_field import parse_port

_LOCALHOST: Final = b"localhost"


def local_port(authority: bytes) -> bytes:
    """Return the port of an authority on this machine, as the port field would have it.

    Raises RouteRefused: 403 unless its host is localhost or a loopback address, 400 unless its port
    is one.
    """
    host, _, port = authority.rpartition(b":")
    if not _is_loopback(host):
        text = "CONNECT without X-Cmux-Port-Internal reaches only localhost and loopback addresses"
        raise RouteRefused(403, text, "http_request_denied")
    try:
        parse_port(port)
    except RouteRefused:
        text = "invalid request target: CONNECT needs a port from 1 to 65535"
        raise RouteRefused(400, text) from None
    return port


def _is_loopback(host: bytes) -> bool:
    """Return whether a host is localhost or a loopback address."""
    if host.lower() == _LOCALHOST:
        return True
    text = host.decode("latin-1")
    try:
        if text.startswith("[") and text.endswith("]"):
            return int(IPv6Address(text[1:-1])) == 1
        return IPv4Address(text).is_loopback
    except AddressValueError:
        return False
