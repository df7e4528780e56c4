"""The directory of keepers: where it is, whose it is, and who is alone with it."""

import os
import socket
from pathlib import Path

import pytest

from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.registry import Registry, directory

ADDRESS = "127.18.0.1"
HOME = f"/tmp/cmux-proxy-{os.geteuid()}"


@pytest.mark.parametrize("given", ["", "relative", "/no/such/directory", "/proc/1"])
def test_without_a_directory_of_the_users_own_it_is_in_tmp(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert directory() == "/tmp/cmux-proxy-4000000"


def test_the_directory_is_made_for_its_user_alone(registry: Path) -> None:
    assert directory() == str(registry)
    assert Registry.find() is None
    with Registry.open():
        assert registry.stat().st_mode & 0o7777 == 0o700
    with Registry.open() as opened:
        assert opened.addresses() == []


@pytest.mark.parametrize("mode", [0o750, 0o707, 0o500])
def test_a_directory_with_other_rights_is_refused(registry: Path, mode: int) -> None:
    registry.mkdir()
    registry.chmod(mode)
    with pytest.raises(IsolationError, match="is not this user's alone"):
        Registry.open()
    assert Registry.find() is None


def test_a_directory_of_somebody_else_is_refused(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.mkdir(mode=0o700)
    monkeypatch.setattr("cmux_proxy.isolation.registry.directory", lambda: str(registry))
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(IsolationError, match="is not this user's alone"):
        Registry.open()
    assert Registry.find() is None


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_directory_is_refused(registry: Path, tmp_path: Path, kind: str) -> None:
    if kind == "link":
        tmp_path.chmod(0o700)
        registry.symlink_to(tmp_path)
    else:
        registry.write_text("")
    with pytest.raises(NotADirectoryError):
        Registry.open()
    assert Registry.find() is None


def test_addresses_are_in_the_order_of_their_numbers(registry: Path) -> None:
    with Registry.open() as opened:
        for name in ("127.18.10.1", "127.18.9.2", "127.18.9.10", "127.0.0.1", "127.18.1", "lock"):
            (registry / name).touch()
        assert opened.addresses() == ["127.18.9.2", "127.18.9.10", "127.18.10.1"]


def test_a_keepers_socket_is_connected_to_however_long_the_path(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = registry.parent / ("long" * 30)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with Registry.open() as opened:
        assert opened.connect(ADDRESS, 1.0) is None
        with opened.listen(ADDRESS):
            channel = opened.connect(ADDRESS, 1.0)
            assert channel is not None
            channel.close()
        assert (opened.connect(ADDRESS, 1.0), opened.addresses()) == (None, [ADDRESS])
        with opened.listen(ADDRESS):
            assert opened.addresses() == [ADDRESS]
        opened.remove(ADDRESS)
        opened.remove(ADDRESS)
        assert opened.addresses() == []


def test_a_keeper_that_is_behind_is_no_keeper_that_is_gone(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        listener.listen(0)
        first = opened.connect(ADDRESS, 0)
        assert first is not None
        with first, pytest.raises(BlockingIOError):
            opened.connect(ADDRESS, 0)


def test_one_at_a_time_has_the_lock(registry: Path) -> None:
    with Registry.open() as one, Registry.open() as other:
        with one.lock():
            assert not other.locks_at_once()
        assert other.locks_at_once()
        third = Registry.open()
        assert not third.locks_at_once()
        other.close()
        assert third.locks_at_once()
        third.close()
        with one.lock():
            # `with` closes it once more otherwise.
            other._descriptor = os.dup(one._descriptor)


def test_the_socket_in_the_directory_is_a_socket(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS):
        assert (registry / ADDRESS).is_socket()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as direct:
            direct.connect(str(registry / ADDRESS))
