"""Notifications to systemd, and when they are sent."""

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
    with Systemd.at(tmp_path) as listening:
        yield listening


def notifier(**variables: str) -> Notifier:
    """Return a notifier for these variables; check that they are removed."""
    environment = {**variables, "A": "1"}
    created = Notifier.from_environment(environment)
    assert environment == {"A": "1"}
    return created


# Messages


def test_states_are_sent_in_systemds_format(systemd: Systemd) -> None:
    service = notifier(NOTIFY_SOCKET=systemd.address)
    service.ready([Address("127.0.0.1", 80), Address("", 0, "/run/a.sock")])
    assert systemd.received() == ["READY=1", "STATUS=listening on 127.0.0.1:80, unix:/run/a.sock"]
    service.alive()
    assert systemd.received() == ["WATCHDOG=1"]
    service.stopping()
    assert systemd.received() == ["STOPPING=1", "STATUS=draining"]


def test_an_abstract_address_is_reached() -> None:
    systemd = Systemd(f"@cmux-proxy-test-{ME}")
    with systemd.sock:
        notifier(NOTIFY_SOCKET=systemd.address).alive()
        assert systemd.received() == ["WATCHDOG=1"]


def test_nothing_is_sent_without_the_variable(caplog: pytest.LogCaptureFixture) -> None:
    service = notifier()
    service.ready([])
    service.alive()
    service.stopping()
    assert caplog.messages == []


def test_a_missing_listener_is_logged_as_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier(NOTIFY_SOCKET=str(tmp_path / "nobody")).stopping()
    assert caplog.messages == [
        "cannot notify systemd of STOPPING=1: [Errno 2] No such file or directory"
    ]


def test_sending_times_out_where_systemd_does_not_read(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"x", systemd.address)
    Notifier(systemd.address, send_timeout=0.001).alive()
    assert caplog.messages == ["cannot notify systemd of WATCHDOG=1: timed out"]


# The watchdog


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
def test_only_a_watchdog_for_this_process_counts(
    variables: dict[str, str], seconds: float | None
) -> None:
    service = notifier(NOTIFY_SOCKET="/nobody", **variables)
    assert service.watchdog_timeout == seconds
    assert service.heartbeat_interval == (None if seconds is None else seconds / 4)


def test_without_an_address_there_is_no_watchdog() -> None:
    assert notifier(WATCHDOG_USEC="1000000").watchdog_timeout is None


# The watchdog of several processes


class CountingNotifier(Notifier):
    """Counts the notifications of the watchdog."""

    def __init__(self, watchdog: float | None) -> None:
        super().__init__("", watchdog)
        self.count = 0

    def alive(self) -> None:
        self.count += 1


def test_it_notifies_every_half_timeout_while_all_processes_send_heartbeats() -> None:
    counter = CountingNotifier(8.0)
    watchdog = Watchdog(counter)
    watchdog.start(100.0)
    counts = []
    for second in range(1, 13):
        watchdog.check(100.0 + second, [99.0 + second, 97.0 + second])
        counts.append(counter.count)
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_one_silent_process_stops_the_notifications_until_its_next_heartbeat() -> None:
    counter = CountingNotifier(8.0)
    watchdog = Watchdog(counter)
    watchdog.start(100.0)
    watchdog.check(104.0, [104.0, 99.9])
    assert (counter.count, watchdog.next_check(104.0)) == (0, None)
    watchdog.check(105.0, [104.0, 105.0])
    assert (counter.count, watchdog.next_check(105.0)) == (1, 109.0)


def test_nothing_is_sent_before_the_start_or_without_a_watchdog() -> None:
    counter = CountingNotifier(8.0)
    watchdog = Watchdog(counter)
    watchdog.check(1000.0, [1000.0])
    assert (counter.count, watchdog.next_check(1000.0)) == (0, None)
    unused = CountingNotifier(None)
    watchdog = Watchdog(unused)
    watchdog.start(100.0)
    watchdog.check(1000.0, [1000.0])
    assert (unused.count, watchdog.next_check(1000.0)) == (0, None)
