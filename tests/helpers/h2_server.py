"""The library h2 as a server: a second opinion on what a request is."""

from typing import Final

import h2.config
import h2.connection
import h2.exceptions
import hpack

from tests.helpers.http2_frames import Fields, frame
from tests.helpers.http2_wire import GREETING

_CONFIG: Final = h2.config.H2Configuration(client_side=False, header_encoding=None)


def is_valid_for_h2(fields: Fields) -> bool:
    """Return whether h2 accepts a request that ends with this header list."""
    server = h2.connection.H2Connection(_CONFIG)
    block = hpack.Encoder().encode(list(fields))
    pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)] or [b""]
    frames = [frame(9, 0, 1, piece) for piece in pieces]
    frames[0] = frame(1, 1, 1, pieces[0])
    frames.append(frame(9, 4, 1))
    try:
        server.receive_data(GREETING + b"".join(frames))
    except h2.exceptions.ProtocolError:
        return False
    return True
