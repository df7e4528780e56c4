"""Ways to close that plain `close` does not offer: with a reset, and one half only."""

from cmux_proxy.net.socket_options import reset_on_close
from cmux_proxy.net.stream import Stream


def reset(stream: Stream) -> None:
    """Close at once with a TCP reset, so that the peer does not see an orderly end."""
    sock = stream.get_extra_info("socket")
    if sock is not None and not stream.is_closing():
        reset_on_close(sock)
    stream.abort()


def send_end(stream: Stream) -> bool:
    """End our half of the connection after everything that waits has been sent.

    Return False and drop the connection where the peer has already reset it.
    """
    try:
        stream.write_eof()
    except OSError:
        # asyncio shuts the socket down at once, which fails where the peer has just reset it.
        stream.abort()
        return False
    return True
