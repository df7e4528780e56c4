"""Upgrade and CONNECT: was it asked for, was it granted? (RFC 9110 sections 7.8 and 9.3.6)"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import UPGRADE_PROTOCOL
from cmux_proxy.http1.head import UPGRADE, RequestHead, ResponseHead


def asks_upgrade(head: RequestHead) -> bool:
    """Return whether this request asks to switch protocols.

    The option must stand in Connection, a list of protocols in Upgrade; from an HTTP/1.0 client
    the field means nothing. Raises BadMessage when Upgrade is not such a list.
    """
    fields = head.fields
    if not fields.connection & UPGRADE or fields.upgrade is None or not head.minor:
        return False
    return bool(_protocols(fields.upgrade))


def check_switch(request: RequestHead, response: ResponseHead, was_asked: bool) -> None:
    """Raise BadMessage unless this 101 grants what the request asked for."""
    asked = request.fields.upgrade
    if not was_asked or asked is None:
        raise BadMessage("a switch of protocols that nobody asked for")
    granted = _protocols(response.fields.upgrade or b"")
    if not granted:
        raise BadMessage("a 101 response that names no protocol")
    protocols = frozenset(_protocols(asked))
    if any(protocol not in protocols for protocol in granted):
        raise BadMessage("a switch to another protocol than asked for")


def _protocols(value: bytes) -> list[bytes]:
    protocols = [item.strip(b" \t").lower() for item in value.split(b",")]
    protocols = [item for item in protocols if item]
    for protocol in protocols:
        if UPGRADE_PROTOCOL.fullmatch(protocol) is None:
            raise BadMessage("Upgrade is not a list of protocols")
    return protocols
