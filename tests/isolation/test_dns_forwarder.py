"""Nameservers on loopback: which there are, and that questions find them and answers the asker."""

import contextlib
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmux_proxy.isolation import dns_forwarder
from cmux_proxy.isolation.dns_forwarder import NameForwarder, forward_names, loopback_nameservers
from tests.helpers.timing import SOON

RESOLV_CONF = """\
# nameserver 127.0.0.1
nameserver 127.0.0.53
nameserver 192.0.2.1
nameserver ::1
  nameserver 127.0.0.54 # ours
nameserver
nameserver fe80::1%eth0
nameserver name
options nameserver 127.0.0.9
search example
"""


def test_those_on_loopback_are_found(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(RESOLV_CONF)
    assert loopback_nameservers(str(path)) == ["127.0.0.53", "::1", "127.0.0.54"]
    assert loopback_nameservers(str(tmp_path / "none")) == []


class Forwarding:
    """A forwarder on loopback, and the nameserver to which it passes questions on."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.selector = stack.enter_context(selectors.DefaultSelector())
        self.nameserver = stack.enter_context(bound())
        listening = stack.enter_context(bound())
        self.address = listening.getsockname()
        NameForwarder(self.selector, listening, self.nameserver.getsockname())
        stack.callback(self._close)

    def turn(self) -> None:
        """Do what there is to do, once there is something."""
        events = self.selector.select(SOON)
        assert events
        for key, _ in events:
            key.data(key.fileobj)

    def asked(self, asker: socket.socket, question: bytes) -> tuple[str, int]:
        """Ask, and return whence the nameserver got the question."""
        asker.sendto(question, self.address)
        self.turn()
        got, whence = self.nameserver.recvfrom(1000)
        assert got == question
        return whence  # type: ignore[no-any-return]

    def _close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(SOON)
    return sock


@pytest.fixture
def on() -> Iterator[Forwarding]:
    """Set up a forwarder and a nameserver."""
    with contextlib.ExitStack() as stack:
        yield Forwarding(stack)


def test_each_asker_gets_the_answers_to_its_questions(on: Forwarding) -> None:
    with bound() as one, bound() as other:
        first = on.asked(one, b"one?")
        second = on.asked(other, b"other?")
        assert on.asked(one, b"one again?") == first != second
        for whence, answer in ((second, b"other!"), (first, b"one!"), (first, b"again!")):
            on.nameserver.sendto(answer, whence)
            on.turn()
        assert [one.recv(100), one.recv(100), other.recv(100)] == [b"one!", b"again!", b"other!"]


def test_the_longest_silent_asker_makes_room(
    on: Forwarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_forwarder, "_MOST_ASKERS", 2)
    with bound() as one, bound() as two, bound() as three:
        first, second = on.asked(one, b"1"), on.asked(two, b"2")
        assert on.asked(one, b"1") == first
        on.asked(three, b"3")
        assert on.asked(one, b"1") == first
        assert on.asked(two, b"2") != second
        # The listening one and two that ask.
        assert len(on.selector.get_map()) == 3


def test_a_nameserver_that_is_not_there_is_lost_questions_and_no_more(on: Forwarding) -> None:
    with bound() as asker:
        on.nameserver.close()
        for _ in range(3):
            asker.sendto(b"?", on.address)
            on.turn()
        on.turn()


def test_where_an_address_is_taken_nothing_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound() as taken, selectors.DefaultSelector() as selector:
        monkeypatch.setattr(dns_forwarder, "_PORT", taken.getsockname()[1])
        monkeypatch.setattr(dns_forwarder, "loopback_nameservers", lambda: ["127.0.0.1"])
        forward_names(selector)
        assert len(selector.get_map()) == 0
        taken.close()
        forward_names(selector)
        (key,) = selector.get_map().values()
        key.fileobj.close()  # type: ignore[union-attr]
