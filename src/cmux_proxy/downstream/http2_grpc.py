"""Recognizes gRPC, which needs HTTP/2 up to its service.

Only on streams of HTTP/2: gRPC cannot come in HTTP/1. gRPC-Web can, has another media type, and is
made for services that speak HTTP/1. Neighbour: `http2_requests.py` has the requests.
"""

from typing import Final

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.relay.request_options import H2C, PROTOCOL_NAME

_START: Final = b"\r\ncontent-type: application/grpc"
_AFTER: Final = (b"\r", b"+")


def asks_for_grpc(head: bytes) -> bool:
    """Return whether the media type of a head is that of gRPC, in any of its formats.

    The head was composed of a header list, whose names are in lower case.
    """
    start = head.find(_START)
    if start < 0:
        return False
    end = start + len(_START)
    return head[end : end + 1] in _AFTER


def ask_for_http2(request: Http1Request) -> None:
    """Have the request sent in HTTP/2, as if it had the field for that."""
    for name, _value in request.reserved:
        if name == PROTOCOL_NAME:
            return
    request.reserved = (*request.reserved, (PROTOCOL_NAME, H2C))
