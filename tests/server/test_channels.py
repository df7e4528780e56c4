"""The sockets on which workers tell what they do: where they are, and who keeps them."""

import os
import socket
import stat
from pathlib import Path

import pytest

from cmux_proxy.server.channels import Channels


def reaches(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def test_each_worker_has_one_that_only_this_user_can_reach() -> None:
    channels = Channels(2)
    try:
        assert len(set(channels.paths)) == 2
        assert all(map(reaches, channels.paths))
        folder = Path(channels.paths[0]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        channels.close()
    assert not folder.exists()


def test_a_worker_takes_its_own_and_leaves_the_rest_to_others() -> None:
    channels = Channels(2)
    paths = channels.paths
    pid = os.fork()
    if not pid:
        own = channels.take(2)
        is_right = own.getsockname() == paths[1] and os.path.exists(paths[0])
        own.close()
        os._exit(0 if is_right else 1)
    assert os.waitpid(pid, 0)[1] == 0
    # What the process did is its own business.
    assert all(map(reaches, paths))
    channels.close()
    with pytest.raises(FileNotFoundError):
        os.stat(paths[0])


def test_where_the_worker_has_ended_nobody_waits_once_it_is_let_go() -> None:
    channels = Channels(2)
    paths = channels.paths
    ours, its = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        own = channels.take(2)
        its.send(b"taken")
        its.recv(1)
        os._exit(own.fileno() == -1)
    its.close()
    channels.let_go()
    with ours:
        ours.recv(5)
        assert list(map(reaches, paths)) == [False, True]
    assert os.waitpid(pid, 0)[1] == 0
    assert not any(map(reaches, paths))
    assert all(map(os.path.exists, paths))
    channels.close()
    assert not any(map(os.path.exists, paths))
