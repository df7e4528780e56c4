"""Which namespaces there are, and where in them a service is looked for."""

import os
from pathlib import Path

import pytest

from cmux_proxy.isolation.status import Command, Status
from cmux_proxy.machine import namespaces as module
from cmux_proxy.machine.namespaces import Place, Space, place_of, spaces
from tests.helpers.workspaces import running


def test_without_workspaces_there_is_this_namespace_alone(registry: Path) -> None:
    assert spaces() == [Space()]
    assert not registry.exists()


def test_a_workspace_is_a_namespace_with_a_process_in_it(
    registry: Path, way: tuple[str, ...]
) -> None:
    with running("A-300", "sleep", "60", way=way) as process:
        inside = Space(process.pid, "a-300", "127.18.1.44")
        assert spaces() == [Space(), inside]
        assert place_of("b-300") == Place(inside, ("127.0.0.1", "::1", "127.18.1.44"))
        assert place_of("a-301") == Place(Space(), ("127.18.1.45",))
        assert place_of(None) == Place(Space(), ("127.0.0.1", "::1"))
    assert spaces() == [Space()]


def test_inside_a_workspace_it_is_the_own_namespace(
    registry: Path, way: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("a-1", "sleep", "60", way=way) as process:
        number = os.stat(f"/proc/{process.pid}/ns/net").st_ino
        monkeypatch.setattr(module, "net_namespace", lambda: number)
        here = Space(None, "a-1", "127.18.0.1")
        assert spaces() == [here]
        assert place_of(None) == Place(here, ("127.0.0.1", "::1"))
        assert place_of("a-1") == Place(here, ("127.0.0.1", "::1", "127.18.0.1"))


@pytest.mark.parametrize("pid", ["our own", "nobody's"])
def test_a_process_of_another_container_is_not_taken_for_one_here(
    registry: Path, monkeypatch: pytest.MonkeyPatch, pid: str
) -> None:
    number = os.getpid() if pid == "our own" else 2**31 - 1
    status = Status("127.18.0.1", [Command(number, "a-1")], [3000], namespace=1)
    with running("a-2", "sleep", "60"):
        monkeypatch.setattr(module, "statuses", lambda _registry: [status])
        assert spaces() == [Space()]


def test_what_is_no_name_has_no_place(registry: Path) -> None:
    with pytest.raises(ValueError, match="is empty"):
        place_of("a/")
