"""Whether a request asks for an upgrade, and whether a 101 grants it (RFC 9110 section 7.8).

Does not know what happens to the connections afterwards; `relay/exchange.py` does.
"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.grammar import UPGRADE_PROTOCOL
from cmux_proxy.http1.head import UPGRADE, RequestHead, ResponseHead


def requests_upgrade(head: RequestHead) -> bool:
    """Return whether this request asks to switch protocols.

    It does with the option `upgrade` in Connection and a list of protocols in Upgrade. From an
    HTTP/1.0 client the field means nothing. Raises BadMessage if Upgrade is not such a list.
    """
    if not head.connection & UPGRADE or head.upgrade is None or not head.minor:
        return False
    return bool(_protocols(head.upgrade))


def check_upgrade_granted(
    request: RequestHead, response: ResponseHead, was_requested: bool
) -> None:
    """Raise BadMessage unless this 101 response grants what the request asked for."""
    requested = request.upgrade
    if not was_requested or requested is None:
        raise BadMessage("a 101 response to a request without an upgrade")
    granted = _protocols(response.upgrade or b"")
    if not granted:
        raise BadMessage("a 101 response that names no protocol")
    protocols = frozenset(_protocols(requested))
    if any(protocol not in protocols for protocol in granted):
        raise BadMessage("a 101 response with a protocol that was not requested")


def _protocols(value: bytes) -> list[bytes]:
    protocols = [item.strip(b" \t").lower() for item in value.split(b",")]
    protocols = [item for item in protocols if item]
    for protocol in protocols:
        if UPGRADE_PROTOCOL.fullmatch(protocol) is None:
            raise BadMessage("Upgrade is not a list of protocols")
    return protocols
