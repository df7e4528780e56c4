"""Signals: queued for an action, and as a pipe to poll without an event loop."""

import os
import select
import signal
from collections.abc import Iterator

import pytest

from cmux_proxy.server.signals import SignalPipe, SignalQueue, handled_signals, log_unused
from tests.helpers.loops import descriptors

NUMBERS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)


@pytest.fixture
def pipe() -> Iterator[SignalPipe]:
    with SignalPipe(NUMBERS) as signal_pipe:
        yield signal_pipe


def is_readable(pipe: SignalPipe) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(0))


def test_a_signal_only_makes_the_pipe_readable(pipe: SignalPipe) -> None:
    assert not is_readable(pipe)
    assert pipe.take() == []
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
        signal.raise_signal(number)
    assert is_readable(pipe)
    assert pipe.take() == [signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1]
    assert not is_readable(pipe)


def test_signals_that_were_ignored_before_are_received() -> None:
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with SignalPipe(NUMBERS) as pipe:
            signal.raise_signal(signal.SIGCHLD)
            assert pipe.take() == [signal.SIGCHLD]
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_other_signals_keep_their_handlers(pipe: SignalPipe) -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGUSR2, lambda number, _frame: received.append(number))
    try:
        signal.raise_signal(signal.SIGUSR2)
        assert pipe.take() == []
        assert received == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_a_blocked_signal_arrives_afterwards(pipe: SignalPipe) -> None:
    with pipe.blocked():
        signal.raise_signal(signal.SIGTERM)
        assert pipe.take() == []
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(NUMBERS)
    assert pipe.take() == [signal.SIGTERM]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_leaving_restores_handlers_and_the_wakeup_descriptor() -> None:
    def mine(*_: object) -> None:
        pass

    read, write = os.pipe()
    os.set_blocking(write, False)
    before = {number: signal.signal(number, mine) for number in NUMBERS}
    fd_before = signal.set_wakeup_fd(write)
    opened = descriptors()
    try:
        with SignalPipe(NUMBERS):
            pass
        assert [signal.getsignal(number) for number in NUMBERS] == [mine] * len(NUMBERS)
        assert signal.set_wakeup_fd(-1) == write
        assert descriptors() == opened
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


def test_a_handler_that_is_not_pythons_becomes_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_handler = signal.signal
    before = set_handler(signal.SIGUSR1, signal.SIG_DFL)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", lambda *given: set_handler(*given) and None)
        pipe = SignalPipe([signal.SIGUSR1]).__enter__()
    pipe.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    set_handler(signal.SIGUSR1, before)


def test_a_forked_process_may_abandon_it() -> None:
    opened = descriptors()
    before = {number: signal.getsignal(number) for number in NUMBERS}
    pipe = SignalPipe(NUMBERS).__enter__()
    pipe.abandon()
    try:
        assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_DFL] * 3
        assert signal.set_wakeup_fd(-1) == -1
        assert descriptors() == opened
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Signals that are queued for an action


def test_signals_are_queued_until_an_action_is_attached() -> None:
    received: list[int] = []
    with SignalQueue(exits_on_second_stop=False) as signals:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
            signal.raise_signal(number)
        signals.attach(received.append)
        signal.raise_signal(signal.SIGTERM)
        signals.detach()
        signal.raise_signal(signal.SIGINT)
        assert signals.take() == [signal.SIGINT]
        assert signals.take() == []
    assert received == [signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM]


def test_the_queue_restores_the_handlers() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    with SignalQueue(exits_on_second_stop=False):
        assert handled_signals() == numbers
    assert [signal.getsignal(number) for number in numbers] == before


def test_only_a_second_stop_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    with SignalQueue(exits_on_second_stop=True):
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert statuses == []
        signal.raise_signal(signal.SIGINT)
    assert statuses == [128 + signal.SIGINT]


def test_sighup_stays_ignored_if_it_was_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in handled_signals()
        with SignalQueue(exits_on_second_stop=False):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_an_unused_signal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log_unused(signal.SIGUSR2)
    assert caplog.messages == ["SIGUSR2 has no meaning here and is ignored"]
