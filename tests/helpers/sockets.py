"""Connected sockets, and streams that know nothing but theirs."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

# SO_LINGER that makes a close a reset.
RESET: Final = struct.pack("ii", 1, 0)


def stream_of(sock: socket.socket | None, held: int = 0) -> Any:
    """Return a stream over a socket, in which `held` bytes wait to be sent."""
    return SimpleNamespace(get_extra_info={"socket": sock}.get, get_write_buffer_size=lambda: held)


@contextlib.contextmanager
def pair(family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a peer, and our end of its connection."""
    with contextlib.ExitStack() as stack:
        if family == socket.AF_UNIX:
            peer, ours = socket.socketpair()
        else:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            peer = socket.create_connection(listener.getsockname())
            ours, _address = listener.accept()
        yield stack.enter_context(peer), stack.enter_context(ours)
