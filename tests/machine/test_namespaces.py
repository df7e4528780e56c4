"""The namespaces of workspaces, and the addresses of services in them."""

import os
from pathlib import Path

import pytest

from cmux_proxy.isolation.status import Command, WorkspaceStatus
from cmux_proxy.machine import namespaces as module
from cmux_proxy.machine.namespaces import (
    Namespace,
    ServiceAddresses,
    find_namespaces,
    service_addresses,
)
from tests.helpers.workspaces import running


def test_without_workspaces_only_this_namespace_is_found(registry: Path) -> None:
    assert find_namespaces() == [Namespace()]
    assert not registry.exists()


def test_a_workspace_is_a_namespace_with_a_process_in_it(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    with running("A-300", "sleep", "60", prefix=prefix) as process:
        inside = Namespace(process.pid, "a-300", "127.18.1.44")
        assert find_namespaces() == [Namespace(), inside]
        assert service_addresses("b-300") == ServiceAddresses(
            inside, ("127.0.0.1", "::1", "127.18.1.44")
        )
        assert service_addresses("a-301") == ServiceAddresses(Namespace(), ("127.18.1.45",))
        assert service_addresses(None) == ServiceAddresses(Namespace(), ("127.0.0.1", "::1"))
    assert find_namespaces() == [Namespace()]


def test_inside_a_workspace_its_namespace_is_this_one(
    registry: Path, prefix: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("a-1", "sleep", "60", prefix=prefix) as process:
        number = os.stat(f"/proc/{process.pid}/ns/net").st_ino
        monkeypatch.setattr(module, "net_namespace_id", lambda _pid=None: number)
        here = Namespace(None, "a-1", "127.18.0.1")
        assert find_namespaces() == [here]
        assert service_addresses(None) == ServiceAddresses(here, ("127.0.0.1", "::1"))
        assert service_addresses("a-1") == ServiceAddresses(
            here, ("127.0.0.1", "::1", "127.18.0.1")
        )


@pytest.mark.parametrize("pid", ["our own", "nobody's"])
def test_a_process_id_of_another_container_is_not_used(
    registry: Path, monkeypatch: pytest.MonkeyPatch, pid: str
) -> None:
    number = os.getpid() if pid == "our own" else 2**31 - 1
    status = WorkspaceStatus("127.18.0.1", [Command(number, "a-1")], [3000], namespace=1)
    with running("a-2", "sleep", "60"):
        monkeypatch.setattr(module, "read_statuses", lambda _registry: [status])
        assert find_namespaces() == [Namespace()]


def test_an_invalid_name_is_refused(registry: Path) -> None:
    with pytest.raises(ValueError, match="is empty"):
        service_addresses("a/")
