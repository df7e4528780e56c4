"""Namespaces, created and entered by separate processes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy.isolation import namespace
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.namespace import create_namespace, enter, net_namespace_id, require_linux
from tests.helpers.timing import LATER

CREATE = """
import os, socket, sys
from cmux_proxy.isolation.namespace import *
outer_net, outer_user = net_namespace_id(), user_namespace_id()
create_namespace()
assert net_namespace_id() != outer_net
with socket.create_server(("127.0.0.1", 0)) as ipv4, socket.create_server(
    ("::1", 0), family=socket.AF_INET6
) as ipv6:
    for listener in ipv4, ipv6:
        socket.create_connection(listener.getsockname()[:2]).close()
descriptors = open_namespaces(outer_user)
enter(descriptors)
print(len(descriptors), os.geteuid(), os.getegid(), user_namespace_id() == outer_user)
"""


def test_a_new_namespace_has_both_loopbacks_and_the_same_user(prefix: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", CREATE],
        capture_output=True, text=True, timeout=LATER, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    count, user, group, is_same = done.stdout.split()
    assert (int(user), int(group)) == (os.geteuid(), os.getegid())
    assert (count, is_same) == (("2", "False") if prefix or os.geteuid() else ("1", "True"))


def test_entering_the_current_namespace_does_nothing() -> None:
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        enter([here])
        assert os.fstat(here).st_ino == net_namespace_id()
    finally:
        os.close(here)


def test_a_file_that_is_not_a_namespace_cannot_be_entered(tmp_path: Path) -> None:
    says = r"cannot be entered: Invalid argument; run it as"
    with open(tmp_path / "file", "w") as file, pytest.raises(IsolationError, match=says):
        enter([file.fileno()])


def test_an_error_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "")

    # Private, because a process with privileges is not refused.
    monkeypatch.setattr(namespace, "_call", refuse)
    says = r"no network namespace can be created: Operation not permitted; run it as root, or allow"
    with pytest.raises(IsolationError, match=says):
        create_namespace()


def test_namespaces_need_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    require_linux()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(IsolationError, match=r"need Linux; elsewhere .*workspace-ip NAME"):
        require_linux()
