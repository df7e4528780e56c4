"""Has gRPC, which needs HTTP/2 up to its service, sent in HTTP/2.

Only on streams of HTTP/2: gRPC cannot come in HTTP/1. Neighbours: `http2/header_field.py`
recognizes it, `http2_requests.py` has the requests.
"""

from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.relay.request_options import H2C, PROTOCOL_NAME


def ask_for_http2(request: Http1Request) -> None:
    """Have the request sent in HTTP/2, as if it had the field for that."""
    for name, _value in request.reserved:
        if name == PROTOCOL_NAME:
            return
    request.reserved = (*request.reserved, (PROTOCOL_NAME, H2C))
