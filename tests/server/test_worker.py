"""One process: its event loop, its signals, and its logged errors."""

import asyncio
import gc
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from cmux_proxy import Address, Config, ListenError, Proxy
from cmux_proxy.server import worker
from cmux_proxy.server.binding import bind
from cmux_proxy.server.event_loops import running_loop_name
from cmux_proxy.server.signals import SignalQueue, handled_signals
from cmux_proxy.server.worker import HEARTBEAT, OnStart, run_single, run_supervised
from tests.helpers.loops import io_of, loop_settings
from tests.helpers.proxies import embedding_program, local_config
from tests.helpers.script import head
from tests.helpers.timing import later, soon
from tests.helpers.wire import Wire, WireListener

pytestmark = pytest.mark.hosting

# A run in this process


def run_here(config: Config, on_start: OnStart | None = None) -> None:
    with SignalQueue(exits_on_second_stop=True) as signals:
        run_single(config, signals, on_start)


@pytest.fixture(autouse=True)
def _restore_process_state() -> Iterator[None]:
    # A closed uvloop leaves its own handlers.
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    for number, handler in previous.items():
        signal.signal(number, handler)


def test_it_runs_in_the_selected_loop_until_a_signal(loop_name: str) -> None:
    started: list[tuple[str, str]] = []

    def on_start(addresses: list[Address], name: str) -> None:
        started.append((name, running_loop_name()))
        assert addresses[0].port != 0
        os.kill(os.getpid(), signal.SIGTERM)

    run_here(local_config(**loop_settings(loop_name)), on_start)
    assert started == [(io_of(loop_name), loop_name.removeprefix("nested-"))]


def test_objects_from_the_start_are_frozen_for_the_collector(loop_name: str) -> None:
    def on_start(_addresses: list[Address], _name: str) -> None:
        asyncio.get_running_loop().call_later(0, os.kill, os.getpid(), signal.SIGTERM)

    run_here(local_config(**loop_settings(loop_name)), on_start)
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 700


def test_a_second_signal_exits_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_exit(status: int) -> None:
        raise SystemExit(status)

    class HangingProxy(Proxy):
        async def drain(self, timeout: float | None = None) -> None:
            self._stop_accepting()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    monkeypatch.setattr(os, "_exit", fake_exit)
    monkeypatch.setattr(worker, "Proxy", HangingProxy)
    with pytest.raises(SystemExit) as caught:
        run_here(local_config(loop="asyncio"), lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert caught.value.code == 128 + signal.SIGINT


def test_an_address_that_cannot_be_bound_is_raised(loop_name: str) -> None:
    with pytest.raises(ListenError):
        run_here(local_config(listen=["192.0.2.1:0"], **loop_settings(loop_name)))


# One of several, in this process


class Lifeline:
    """Both ends of a lifeline, and a socket to listen on."""

    def __init__(self) -> None:
        self.supervisor_end, self.worker_end = socket.socketpair()
        self.sockets = bind([Address("127.0.0.1", 0)])
        self.port: int = self.sockets[0].getsockname()[1]

    def run(self, loop_name: str, then: Callable[[], object]) -> None:
        """Run as a worker; `then` is called in a thread after the first heartbeat."""

        def watch() -> None:
            received.append(self.supervisor_end.recv(1))
            then()

        received: list[bytes] = []
        watcher = threading.Thread(target=watch)
        watcher.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())
        try:
            run_supervised(local_config(**loop_settings(loop_name)), self.sockets, self.worker_end)
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(handled_signals())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, handled_signals())
            watcher.join()
        assert received == [HEARTBEAT]


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    line = Lifeline()
    with line.supervisor_end, line.worker_end, line.sockets[0]:
        yield line


def test_it_sends_a_heartbeat_and_serves_until_the_lifeline_ends(
    loop_name: str, lifeline: Lifeline
) -> None:
    responses: list[bytes] = []

    def send_request() -> None:
        with socket.create_connection(("127.0.0.1", lifeline.port)) as client:
            client.sendall(head("GET / HTTP/1.1", "Host: a"))
            responses.append(client.recv(12))
        lifeline.supervisor_end.close()

    lifeline.run(loop_name, send_request)
    assert responses == [b"HTTP/1.1 400"]
    assert lifeline.sockets[0].fileno() == -1


def test_several_signals_count_as_one(loop_name: str, lifeline: Lifeline) -> None:
    def send_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    lifeline.run(loop_name, send_signals)


def test_a_signal_before_the_handlers_is_not_lost(loop_name: str, lifeline: Lifeline) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    lifeline.run(loop_name, lambda: None)


def test_a_worker_without_a_supervisor_ends(loop_name: str, lifeline: Lifeline) -> None:
    lifeline.supervisor_end.close()
    signal.pthread_sigmask(signal.SIG_BLOCK, handled_signals())
    try:
        run_supervised(
            local_config(**loop_settings(loop_name)), lifeline.sockets, lifeline.worker_end
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled_signals())


# Logged errors


def logged(caplog: pytest.LogCaptureFixture, **context: Any) -> logging.LogRecord:
    with asyncio.Runner() as runner:
        worker.handle_loop_exception(runner.get_loop(), {"message": "it went wrong", **context})
    (record,) = caplog.records
    assert record.name == "cmux_proxy"
    return record


def test_an_error_of_a_peer_or_the_machine_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog, exception=ConnectionResetError(104, "Connection reset by peer"))
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "it went wrong: [Errno 104] Connection reset by peer"
    assert record.exc_info is None


def test_a_memory_error_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog, exception=MemoryError())
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "it went wrong: no memory is left"
    assert record.exc_info is None


def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    error = ZeroDivisionError("a bug")
    record = logged(caplog, exception=error)
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "it went wrong")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_message_without_an_exception_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog)
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "it went wrong")
    assert not record.exc_info or record.exc_info[1] is None


def test_errors_of_the_loop_are_logged(loop_name: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError(5, "injected")

    def on_start(_addresses: list[Address], _name: str) -> None:
        asyncio.get_running_loop().call_soon(fail)
        os.kill(os.getpid(), signal.SIGTERM)

    run_here(local_config(**loop_settings(loop_name)), on_start)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("[Errno 5] injected")


# A process of an embedder

PROGRAM = """
from cmux_proxy import Config, run
def on_start(addresses, loop):
    print(addresses[0].port, loop, flush=True)
run(Config(listen=["127.0.0.1:0"], **{settings!r}), on_start)
print("drained")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_program_that_runs_the_proxy_serves_drains_and_continues(
    loop_name: str, number: signal.Signals
) -> None:
    async with embedding_program(PROGRAM.format(settings=loop_settings(loop_name))) as process:
        assert process.stdout is not None
        line = (await later(process.stdout.readline())).decode()
        match = re.fullmatch(rf"([0-9]+) {io_of(loop_name)}\n", line)
        assert match is not None, line
        listener = WireListener()
        with await Wire.to("127.0.0.1", int(match[1])) as client:
            await client.send(
                head("GET / HTTP/1.1", "Host: a", f"X-Cmux-Port-Internal: {listener.port}")
            )
            with await soon(listener.accept()) as upstream:
                listener.close()
                await soon(upstream.receive())
                idle = await Wire.to("127.0.0.1", int(match[1]))
                process.send_signal(number)
                with idle:
                    assert await soon(idle.receive()) == b""
                await upstream.send(head("HTTP/1.1 204 No Content"))
                response = head("HTTP/1.1 204 No Content", "Connection: close")
                assert await soon(client.receive_all()) == response
        out, errors = await later(process.communicate())
    assert (process.returncode, out, errors) == (0, b"drained\n", b"")


def test_a_connection_whose_callback_has_failed_is_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = mock.Mock()
    logged(caplog, exception=MemoryError(), transport=transport)
    transport.abort.assert_called_once_with()


def test_what_has_no_abort_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, exception=MemoryError(), transport=object()).levelno == logging.WARNING
