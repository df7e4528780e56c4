"""What the kernel holds of real connections."""

import contextlib
import socket

import pytest

from cmux_proxy.net.socket_queues import count_unread, count_unsent, read_rest, was_reset
from tests.helpers.sockets import RESET, pair, stream_of


def test_unread_bytes_are_counted_without_the_end() -> None:
    with pair() as (peer, ours):
        assert count_unread(stream_of(ours)) == 0
        peer.send(b"12345")
        peer.shutdown(socket.SHUT_WR)
        assert count_unread(stream_of(ours)) == 5
        ours.recv(2)
        assert count_unread(stream_of(ours)) == 3
    assert count_unread(stream_of(ours)) == 0
    assert count_unread(stream_of(None)) == 0


def test_unsent_bytes_are_counted_with_those_that_the_kernel_has() -> None:
    with pair() as (peer, ours):
        assert count_unsent(stream_of(ours, 7)) == 7
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(65536))
        assert count_unsent(stream_of(ours, 7)) > 7
    assert count_unsent(stream_of(ours, 7)) == 7


@pytest.mark.parametrize(("ends", "expected"), [(True, False), (False, True)])
def test_a_reset_is_told_from_a_reset_behind_the_end(ends: bool, expected: bool) -> None:
    with pair() as (peer, ours):
        assert not was_reset(stream_of(ours))
        if ends:
            peer.shutdown(socket.SHUT_WR)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        assert was_reset(stream_of(ours)) is expected
    assert not was_reset(stream_of(ours))


def test_the_rest_is_what_came_before_a_connection_broke() -> None:
    with pair() as (peer, ours):
        ours.setblocking(False)
        assert read_rest(stream_of(ours), 10) == b""
        peer.send(b"12345")
        assert read_rest(stream_of(ours), 3) == b"123"
        assert read_rest(stream_of(ours), 3) == b"45"
        peer.close()
        assert read_rest(stream_of(ours), 3) == b""
    assert read_rest(stream_of(ours), 3) == b""
    assert read_rest(stream_of(None), 3) == b""
