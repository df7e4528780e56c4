"""Recognizes a connection whose first bytes are not HTTP/1: TLS, or HTTP/2 by prior knowledge.

Both are heads that HTTP/1 refuses, so that other connections pay nothing for it. Neighbours:
`tls_start.py` and `http2_start.py` know one protocol each.
"""

from collections.abc import Callable

from cmux_proxy.downstream.http2_start import take_http2
from cmux_proxy.downstream.tls_start import take_tls
from cmux_proxy.net.stream import FirstOwner
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.exchange_pool import ExchangePool
from cmux_proxy.relay.services import Services


def switch_protocol(
    services: Services,
    client: Downstream,
    new_connection: Callable[[Services, ExchangePool], FirstOwner],
    exchanges: ExchangePool,
) -> bool:
    """Give a connection to the owner that its first bytes ask for; return False if there is none.

    `new_connection` makes the owner of HTTP/1 behind a TLS handshake.
    """
    is_tls = take_tls(services, client, new_connection, exchanges)
    return is_tls or take_http2(services, client, exchanges)
