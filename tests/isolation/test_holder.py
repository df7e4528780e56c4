"""Namespace holders, as their clients see them."""

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
from tests.helpers.workspaces import ending, holder_pid, need_namespaces, running, socket_inside

ADDRESS = "127.18.0.1"


@pytest.fixture
def channel(registry: Path) -> Iterator[socket.socket]:
    """Return a connection to the holder of a workspace that has one command."""
    need_namespaces(())
    with running("a-1", "sleep", "600"), connected() as channel:
        yield channel


@contextlib.contextmanager
def connected() -> Iterator[socket.socket]:
    with Registry.open() as opened:
        channel = opened.connect(ADDRESS, LATER)
    assert channel is not None
    with channel:
        yield channel


def request(channel: socket.socket, **fields: Any) -> Message:
    send(channel, fields)
    return receive(channel)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ask": "unknown"},
        {"ask": "join", "name": "a-1", "pid": 1},
        {"ask": "socket"},
        {"ask": "socket", "family": int(socket.AF_UNIX)},
        {"ask": "socket", "family": "2"},
    ],
    ids=["nothing", "unknown", "no pidfd", "no family", "another family", "no number"],
)
def test_an_invalid_request_is_refused_and_the_next_one_is_served(
    channel: socket.socket, fields: dict[str, Any]
) -> None:
    assert request(channel, **fields) == Message({"error": "not understood"}, [])
    assert request(channel, ask="status").fields["ports"] == []


def test_a_client_that_sends_no_message_is_dropped_and_others_are_served(
    channel: socket.socket,
) -> None:
    with connected() as invalid:
        invalid.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(EOFError):
            receive(invalid)
    assert len(request(channel, ask="status").fields["commands"]) == 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_belongs_to_the_namespace(channel: socket.socket, family: int) -> None:
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket_inside(ADDRESS, family) as listener, socket.socket(family) as outside:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert request(channel, ask="status").fields["ports"] == [port]
        with socket_inside(ADDRESS, family) as inside:
            inside.connect((host, port))
        with pytest.raises(ConnectionRefusedError):
            outside.connect((host, port))


def test_it_inherits_no_descriptors(registry: Path) -> None:
    need_namespaces(())
    reading, writing = os.pipe()
    with running("a-1", "sleep", "600", pass_fds=[writing]):
        os.close(writing)
        links = os.listdir(f"/proc/{holder_pid(registry)}/fd")
        for name in links[:3]:
            assert os.readlink(f"/proc/{holder_pid(registry)}/fd/{name}") == "/dev/null"
        pipe = os.readlink(f"/proc/self/fd/{reading}")
        assert pipe not in {
            os.readlink(f"/proc/{holder_pid(registry)}/fd/{name}") for name in links
        }
    os.close(reading)


def test_it_has_its_own_session(registry: Path) -> None:
    need_namespaces(())
    with running("a-1", "sleep", "600") as process:
        assert os.getsid(holder_pid(registry)) != os.getsid(process.pid)


def test_it_stays_while_a_client_is_connected_and_while_a_command_may_enter(registry: Path) -> None:
    need_namespaces(())
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running("a-1", "sleep", "600"))
        stack.enter_context(ending(holder_pid(registry)))
        opened = stack.enter_context(Registry.open())
        stack.enter_context(opened.lock())
        with connected() as channel:
            process.kill()
            process.wait()
            while request(channel, ask="status").fields["commands"]:
                pass
        with connected() as channel:
            assert request(channel, ask="status").fields["commands"] == []


def test_a_stopped_command_still_counts(registry: Path) -> None:
    need_namespaces(())
    with running("a-1", "sleep", "600") as process:
        process.send_signal(signal.SIGSTOP)
        with connected() as channel:
            assert len(request(channel, ask="status").fields["commands"]) == 1
