"""What systemd is told, and when."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmux_proxy import Address
from cmux_proxy.server.notify import Notifier, Watchdog
from tests.helpers.systemd import Systemd

ME = str(os.getpid())


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with Systemd.at(tmp_path) as one:
        yield one


def notifier(**variables: str) -> Notifier:
    """Return what is made of variables, which are gone then."""
    environment = {**variables, "A": "1"}
    made = Notifier.from_environment(environment)
    assert environment == {"A": "1"}
    return made


# What is told


def test_the_states_of_a_service_are_told_in_words_of_systemd(systemd: Systemd) -> None:
    one = notifier(NOTIFY_SOCKET=systemd.address)
    one.ready([Address("127.0.0.1", 80), Address("", 0, "/run/a.sock")])
    assert systemd.heard() == ["READY=1", "STATUS=listening on 127.0.0.1:80, unix:/run/a.sock"]
    one.alive()
    assert systemd.heard() == ["WATCHDOG=1"]
    one.stopping()
    assert systemd.heard() == ["STOPPING=1", "STATUS=draining"]


def test_an_address_without_a_file_is_found() -> None:
    systemd = Systemd(f"@cmux-proxy-test-{ME}")
    with systemd.sock:
        notifier(NOTIFY_SOCKET=systemd.address).alive()
        assert systemd.heard() == ["WATCHDOG=1"]


def test_where_nobody_asks_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    one = notifier()
    one.ready([])
    one.alive()
    one.stopping()
    assert caplog.messages == []


def test_whoever_does_not_listen_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier(NOTIFY_SOCKET=str(tmp_path / "nobody")).stopping()
    assert caplog.messages == [
        "systemd cannot be told STOPPING=1: [Errno 2] No such file or directory"
    ]


def test_whoever_does_not_read_is_not_waited_for(
    systemd: Systemd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmux_proxy.server.notify._PATIENCE", 0.001)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"x", systemd.address)
    notifier(NOTIFY_SOCKET=systemd.address).alive()
    assert caplog.messages == ["systemd cannot be told WATCHDOG=1: timed out"]


# How often


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ME}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        *[({"WATCHDOG_USEC": text}, None) for text in ["", "0", "-1", "x", "1.5", "9" * 17]],
        ({}, None),
    ],
)
def test_only_a_watchdog_that_is_for_this_process_counts(
    variables: dict[str, str], seconds: float | None
) -> None:
    one = notifier(NOTIFY_SOCKET="/nobody", **variables)
    assert one.watchdog == seconds
    assert one.beat == (None if seconds is None else seconds / 4)


def test_without_anybody_to_tell_there_is_no_watchdog() -> None:
    assert notifier(WATCHDOG_USEC="1000000").watchdog is None


# For several processes


class Told(Notifier):
    """Remembers how often it was told that all are alive."""

    def __init__(self, watchdog: float | None) -> None:
        super().__init__("", watchdog)
        self.count = 0

    def alive(self) -> None:
        self.count += 1


def test_it_is_told_every_half_of_the_time_as_long_as_all_are_heard() -> None:
    told = Told(8.0)
    watchdog = Watchdog(told)
    watchdog.start(100.0)
    counts = []
    for second in range(1, 13):
        watchdog.look(100.0 + second, [99.0 + second, 97.0 + second])
        counts.append(told.count)
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_one_silent_process_is_enough_to_tell_nothing_until_it_is_heard_again() -> None:
    told = Told(8.0)
    watchdog = Watchdog(told)
    watchdog.start(100.0)
    watchdog.look(104.0, [104.0, 99.9])
    assert (told.count, watchdog.date(104.0)) == (0, None)
    watchdog.look(105.0, [104.0, 105.0])
    assert (told.count, watchdog.date(105.0)) == (1, 109.0)


def test_nothing_is_told_before_the_start_or_if_nobody_asks() -> None:
    told = Told(8.0)
    watchdog = Watchdog(told)
    watchdog.look(1000.0, [1000.0])
    assert (told.count, watchdog.date(1000.0)) == (0, None)
    silent = Told(None)
    watchdog = Watchdog(silent)
    watchdog.start(100.0)
    watchdog.look(1000.0, [1000.0])
    assert (silent.count, watchdog.date(1000.0)) == (0, None)
