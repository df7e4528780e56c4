"""Failures to enter a workspace; the tests of `cmux-proxy run` have the successes."""

import os
from pathlib import Path

import pytest

from cmux_proxy.isolation.entering import HolderOptions, enter_workspace
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.registry import Registry

ADDRESS = "127.18.0.1"
IMPATIENT = HolderOptions(join_timeout=0.01, status_timeout=0.01)


def assert_refused(reason: str, options: HolderOptions) -> None:
    """Check that entering fails with this reason and leaves no descriptor open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IsolationError, match=reason):
        enter_workspace("a-1", ADDRESS, False, options)
    assert os.listdir("/proc/self/fd") == before


def test_entering_times_out_where_the_holder_does_not_answer(registry: Path) -> None:
    with Registry.open() as opened, opened.listen(ADDRESS):
        assert_refused("the namespace holder of 127.18.0.1 does not answer", IMPATIENT)


def test_a_holder_that_does_not_start_is_reported(registry: Path) -> None:
    options = HolderOptions(module="cmux_proxy.no_such_module")
    assert_refused("the namespace holder of 127.18.0.1 has ended", options)


def test_a_kernel_without_pidfds_is_reported(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with Registry.open() as opened, opened.listen(ADDRESS):
        reason = "the workspace cannot be entered: .*Function not implemented"
        assert_refused(reason, IMPATIENT)
