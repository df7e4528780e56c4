"""The registry of namespace holders: its path, its owner and its lock."""

import os
import socket
from pathlib import Path

import pytest

from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.registry import Registry, directory

ADDRESS = "127.18.0.1"
HOME = f"/tmp/cmux-proxy-{os.geteuid()}"


@pytest.mark.parametrize("runtime_directory", ["", "relative", "/no/such/directory", "/proc/1"])
def test_without_a_runtime_directory_of_the_user_it_is_in_tmp(
    runtime_directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime_directory)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert directory() == "/tmp/cmux-proxy-4000000"


def test_the_directory_is_created_for_its_user_alone(registry: Path) -> None:
    assert directory() == str(registry)
    assert Registry.find() is None
    with Registry.open():
        assert registry.stat().st_mode & 0o7777 == 0o700
    with Registry.open() as opened:
        assert opened.addresses() == []


@pytest.mark.parametrize("mode", [0o750, 0o707, 0o500])
def test_a_directory_with_another_mode_is_refused(registry: Path, mode: int) -> None:
    registry.mkdir()
    registry.chmod(mode)
    with pytest.raises(IsolationError, match="is not this user's alone"):
        Registry.open()
    assert Registry.find() is None


def test_a_directory_of_another_user_is_refused(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.mkdir(mode=0o700)
    monkeypatch.setattr("cmux_proxy.isolation.registry.directory", lambda: str(registry))
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(IsolationError, match="is not this user's alone"):
        Registry.open()
    assert Registry.find() is None


@pytest.mark.parametrize("file_type", ["link", "file"])
def test_a_link_or_a_file_is_refused(registry: Path, tmp_path: Path, file_type: str) -> None:
    if file_type == "link":
        tmp_path.chmod(0o700)
        registry.symlink_to(tmp_path)
    else:
        registry.write_text("")
    with pytest.raises(NotADirectoryError):
        Registry.open()
    assert Registry.find() is None


def test_addresses_are_sorted_numerically(registry: Path) -> None:
    with Registry.open() as opened:
        for name in ("127.18.10.1", "127.18.9.2", "127.18.9.10", "127.0.0.1", "127.18.1", "lock"):
            (registry / name).touch()
        assert opened.addresses() == ["127.18.9.2", "127.18.9.10", "127.18.10.1"]


def test_a_holder_can_be_reached_although_the_path_is_long(
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


def test_a_full_backlog_differs_from_a_missing_holder(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS) as listener:
        listener.listen(0)
        first = opened.connect(ADDRESS, 0)
        assert first is not None
        with first, pytest.raises(BlockingIOError):
            opened.connect(ADDRESS, 0)


def test_only_one_process_has_the_lock(registry: Path) -> None:
    with Registry.open() as first:
        second = Registry.open()
        with first.lock():
            assert not second.try_lock()
        assert second.try_lock()
        with Registry.open() as third:
            assert not third.try_lock()
            second.close()
            assert third.try_lock()
        with first.lock():
            pass


def test_the_socket_in_the_directory_is_a_socket(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS):
        assert (registry / ADDRESS).is_socket()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as direct:
            direct.connect(str(registry / ADDRESS))
