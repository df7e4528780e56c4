"""Namespaces, made and entered by processes of their own."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy.isolation import namespace
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.namespace import enter, make_namespace, net_namespace, require_linux
from tests.helpers.timing import LATER

MAKE = """
import os, socket, sys
from cmux_proxy.isolation.namespace import *
outer_net, outer_user = net_namespace(), user_namespace()
make_namespace()
assert net_namespace() != outer_net
with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(
    ("::1", 0), family=socket.AF_INET6
) as other:
    for each in one, other:
        socket.create_connection(each.getsockname()[:2]).close()
descriptors = open_namespaces(outer_user)
enter(descriptors)
print(len(descriptors), os.geteuid(), os.getegid(), user_namespace() == outer_user)
"""


def test_one_is_made_with_both_loopbacks_for_the_same_user(way: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*way, sys.executable, "-c", MAKE],
        capture_output=True, text=True, timeout=LATER, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    count, user, group, is_same = done.stdout.split()
    assert (int(user), int(group)) == (os.geteuid(), os.getegid())
    assert (count, is_same) == (("2", "False") if way or os.geteuid() else ("1", "True"))


def test_who_is_there_already_needs_to_do_nothing() -> None:
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        enter([here])
        assert os.fstat(here).st_ino == net_namespace()
    finally:
        os.close(here)


def test_what_is_no_namespace_cannot_be_entered(tmp_path: Path) -> None:
    says = r"cannot be entered: Invalid argument; run it as"
    with open(tmp_path / "file", "w") as file, pytest.raises(IsolationError, match=says):
        enter([file.fileno()])


def test_an_error_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "")

    monkeypatch.setattr(namespace, "_call", refuse)
    says = r"no network namespace can be made: Operation not permitted; run it as root, or allow"
    with pytest.raises(IsolationError, match=says):
        make_namespace()


def test_there_are_none_elsewhere_than_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    require_linux()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(IsolationError, match=r"need Linux; elsewhere .*workspace-ip NAME"):
        require_linux()
