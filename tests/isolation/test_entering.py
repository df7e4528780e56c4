"""Failures to enter a workspace; the tests of `cmux-proxy run` have the successes."""

import os
from pathlib import Path

import pytest

from cmux_proxy.isolation import entering
from cmux_proxy.isolation.entering import enter_workspace
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.registry import Registry

ADDRESS = "127.18.0.1"


def assert_refused(reason: str) -> None:
    """Check that entering fails with this reason and leaves no descriptor open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IsolationError, match=reason):
        enter_workspace("a-1", ADDRESS, False)
    assert os.listdir("/proc/self/fd") == before


def test_entering_times_out_where_the_holder_does_not_answer(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entering, "_RESPONSE_TIMEOUT", 0.01)
    monkeypatch.setattr("cmux_proxy.isolation.status._RESPONSE_TIMEOUT", 0.01)
    with Registry.open() as opened, opened.listen(ADDRESS):
        assert_refused("the namespace holder of 127.18.0.1 does not answer")


def test_a_holder_that_does_not_start_is_reported(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entering, "_HOLDER_MODULE", "cmux_proxy.no_such_module")
    assert_refused("the namespace holder of 127.18.0.1 has ended")


def test_a_kernel_without_pidfds_is_reported(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with Registry.open() as opened, opened.listen(ADDRESS):
        monkeypatch.setattr("cmux_proxy.isolation.status._RESPONSE_TIMEOUT", 0.01)
        assert_refused("the workspace cannot be entered: .*Function not implemented")
