"""Recognizes a client that speaks HTTP/2: by prior knowledge, or as ALPN says (RFC 9113 section 3).

Its preface is a head that HTTP/1 refuses, so that other connections pay nothing for it. Neighbours:
`http1_connection.py` has read the first bytes, `http2_connection.py` takes the connection over.
"""

from cmux_proxy.http2.frame_types import PREFACE
from cmux_proxy.net.asyncio_backend import alpn, is_encrypted
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services
from cmux_proxy.routing.target import H2

# What the scan of heads takes for a whole head.
_HEAD = PREFACE[:18]


def take_http2(services: Services, client: Downstream, exchanges: ExchangePool) -> bool:
    """Give a connection that begins with the preface to an `Http2Connection`.

    Return False if it does not begin with it, as far as it has arrived, or if another protocol, or
    none, was chosen by ALPN.
    """
    data = client.pipelined
    if not (data.startswith(_HEAD) or PREFACE.startswith(data)):
        return False
    stream = client.transport
    if is_encrypted(stream) and alpn(stream) != H2:
        return False
    from cmux_proxy.downstream.http2_connection import Http2Connection

    client.pipelined = b""
    deadline = min(client.deadline, services.ticker.now + services.timeouts.head)
    Http2Connection(services, exchanges, client.detach()).start(data, deadline)
    return True
