"""Keepers, as those see them who ask."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy.isolation.messages import Message, receive, send
from cmux_proxy.isolation.registry import Registry
from tests.helpers.timing import LATER
from tests.helpers.workspaces import ending, keeper, need_namespaces, running, socket_inside

ADDRESS = "127.18.0.1"


@pytest.fixture
def channel(registry: Path) -> Iterator[socket.socket]:
    """Return a connection to the keeper of a workspace, in which one command is."""
    need_namespaces(())
    with running("a-1", "sleep", "600"), asked() as channel:
        yield channel


@contextlib.contextmanager
def asked() -> Iterator[socket.socket]:
    with Registry.open() as opened:
        channel = opened.connect(ADDRESS, LATER)
    assert channel is not None
    with channel:
        yield channel


def answer(channel: socket.socket, **fields: Any) -> Message:
    send(channel, fields)
    return receive(channel)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ask": "else"},
        {"ask": "join", "name": "a-1", "pid": 1},
        {"ask": "socket"},
        {"ask": "socket", "family": int(socket.AF_UNIX)},
        {"ask": "socket", "family": "2"},
    ],
    ids=["nothing", "else", "no pidfd", "no family", "another family", "no number"],
)
def test_what_is_not_understood_is_said_and_another_question_answered(
    channel: socket.socket, fields: dict[str, Any]
) -> None:
    assert answer(channel, **fields) == Message({"error": "not understood"}, [])
    assert answer(channel, ask="status").fields["ports"] == []


def test_who_sends_no_message_is_left_and_others_are_served(channel: socket.socket) -> None:
    with asked() as rude:
        rude.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(EOFError):
            receive(rude)
    assert len(answer(channel, ask="status").fields["commands"]) == 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_is_of_the_namespace(channel: socket.socket, family: int) -> None:
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket_inside(ADDRESS, family) as listener, socket.socket(family) as outside:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert answer(channel, ask="status").fields["ports"] == [port]
        with socket_inside(ADDRESS, family) as inside:
            inside.connect((host, port))
        with pytest.raises(ConnectionRefusedError):
            outside.connect((host, port))


def test_it_has_no_descriptors_of_whoever_started_it(registry: Path) -> None:
    need_namespaces(())
    reading, writing = os.pipe()
    with running("a-1", "sleep", "600", pass_fds=[writing]):
        os.close(writing)
        links = os.listdir(f"/proc/{keeper(registry)}/fd")
        for name in links[:3]:
            assert os.readlink(f"/proc/{keeper(registry)}/fd/{name}") == "/dev/null"
        pipe = os.readlink(f"/proc/self/fd/{reading}")
        assert pipe not in {os.readlink(f"/proc/{keeper(registry)}/fd/{name}") for name in links}
    os.close(reading)


def test_it_is_in_a_session_of_its_own(registry: Path) -> None:
    need_namespaces(())
    with running("a-1", "sleep", "600") as process:
        assert os.getsid(keeper(registry)) != os.getsid(process.pid)


def test_it_stays_while_somebody_asks_and_while_somebody_may_enter(registry: Path) -> None:
    need_namespaces(())
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running("a-1", "sleep", "600"))
        stack.enter_context(ending(keeper(registry)))
        opened = stack.enter_context(Registry.open())
        stack.enter_context(opened.lock())
        with asked() as channel:
            process.kill()
            process.wait()
            while answer(channel, ask="status").fields["commands"]:
                pass
        with asked() as channel:
            assert answer(channel, ask="status").fields["commands"] == []


def test_a_command_that_stops_is_still_there(registry: Path) -> None:
    need_namespaces(())
    with running("a-1", "sleep", "600") as process:
        process.send_signal(signal.SIGSTOP)
        with asked() as channel:
            assert len(answer(channel, ask="status").fields["commands"]) == 1
