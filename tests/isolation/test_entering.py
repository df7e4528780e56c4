"""Entering, as far as it fails; that it succeeds is for the tests of `cmux-proxy run`."""

import os
from pathlib import Path

import pytest

from cmux_proxy.isolation import entering
from cmux_proxy.isolation.entering import enter_workspace
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.registry import Registry

ADDRESS = "127.18.0.1"


def fails(says: str) -> None:
    """Fail unless the workspace cannot be entered, for this reason and with nothing left."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IsolationError, match=says):
        enter_workspace("a-1", ADDRESS, False)
    assert os.listdir("/proc/self/fd") == before


def test_a_keeper_that_does_not_answer_is_not_waited_for(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entering, "_ANSWERS_WITHIN", 0.01)
    monkeypatch.setattr("cmux_proxy.isolation.status._ANSWERS_WITHIN", 0.01)
    with Registry.open() as opened, opened.listen(ADDRESS):
        fails("the keeper of 127.18.0.1 does not answer")


def test_a_keeper_that_does_not_start_is_told(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entering, "_KEEPER", "cmux_proxy.no_such_module")
    fails("the keeper of 127.18.0.1 has ended")


def test_a_kernel_without_pidfds_is_told(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with Registry.open() as opened, opened.listen(ADDRESS):
        monkeypatch.setattr("cmux_proxy.isolation.status._ANSWERS_WITHIN", 0.01)
        fails("the workspace cannot be entered: .*Function not implemented")
