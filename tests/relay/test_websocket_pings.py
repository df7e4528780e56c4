"""When a client counts as gone: what the kernel holds for it is a question to a real socket."""

import contextlib
import socket
import sys
from types import SimpleNamespace
from typing import cast

import pytest

from cmux_proxy.net.stream import Stream
from cmux_proxy.relay.websocket_pings import GIVE_UP, NOTHING, PING_INTERVAL, SEND_PING, Pings


def over(sock: socket.socket) -> Stream:
    """Return a stream over a socket, behind which nothing waits in the process."""
    return cast(
        Stream,
        SimpleNamespace(
            get_extra_info=lambda name, default=None: sock if name == "socket" else default,
            get_write_buffer_size=lambda: 0,
        ),
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel says how much it holds")
@pytest.mark.parametrize(
    ("size", "due"), [(100, GIVE_UP), (1_000_000, SEND_PING)], ids=["some pings", "much"]
)
def test_a_client_whose_kernel_takes_no_more_may_be_there(size: int, due: int) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours = stack.enter_context(socket.create_connection(listener.getsockname()))
        stack.enter_context(listener.accept()[0])
        ours.setblocking(False)
        ours.send(bytes(size))
        pings = Pings(0.0)
        assert pings.due(PING_INTERVAL, over(ours), True) == SEND_PING
        assert pings.due(2 * PING_INTERVAL, over(ours), True) == due


def test_the_next_check_is_never_in_the_past() -> None:
    with socket.socket() as sock:
        pings = Pings(0.0)
        assert pings.next_check(0.0) == PING_INTERVAL
        pings.note_heard(5.0)
        # Nothing was sent since.
        assert pings.next_check(5.0) == PING_INTERVAL
        pings.note_sent(7.0, 1)
        assert pings.next_check(7.0) == 5.0 + PING_INTERVAL
        assert pings.due(20.0, over(sock), True) == NOTHING
        assert pings.next_check(50.0) > 50.0
