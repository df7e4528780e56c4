"""The store of a Linux system: which one there is, and what only root may do."""

import os
from pathlib import Path

import pytest

from cmux_proxy.trust import system_store
from cmux_proxy.trust.step import Certificate
from cmux_proxy.trust.system_store import SystemStore, system_steps
from tests.helpers.fake_programs import FakePrograms

NAME = "cmux-proxy-authority-12ab.crt"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a folder be the directory of the only store."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    store = SystemStore(str(folder), ("update-it", "now"), ("update-it", "--fresh"))
    monkeypatch.setattr(system_store, "SYSTEM_STORES", (store,))
    return folder


def test_the_certificate_is_installed_and_removed(
    folder: Path, certificate: Certificate, programs: FakePrograms
) -> None:
    programs.add("update-it")
    os.chmod(certificate.path, 0o600)
    [step] = system_steps(certificate, False, programs.find)
    assert step.obstacle == ""
    assert not step.is_done()
    step.run()
    assert step.is_done()
    installed = folder / NAME
    assert installed.read_bytes() == certificate.pem
    assert installed.stat().st_mode & 0o777 == 0o644
    [removal] = system_steps(certificate, True, programs.find)
    assert not removal.is_done()
    removal.run()
    assert removal.is_done()
    assert os.listdir(folder) == []
    assert programs.started() == ["update-it now", "update-it --fresh"]


def test_another_certificate_in_its_place_is_replaced(
    folder: Path, certificate: Certificate, programs: FakePrograms
) -> None:
    programs.add("update-it")
    (folder / NAME).write_text("another")
    [step] = system_steps(certificate, False, programs.find)
    assert not step.is_done()
    (folder / NAME).unlink()
    (folder / NAME).mkdir()
    assert not step.is_done()


def test_a_user_who_may_not_write_gets_a_line_with_sudo(
    folder: Path, certificate: Certificate, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = programs.add("update-it")
    install = programs.add("install")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    [step] = system_steps(certificate, False, programs.find)
    assert step.obstacle == "this user may not write there"
    assert step.by_hand() == (
        f"sudo {install} -m 644 '{certificate.path}' {folder}/{NAME} && sudo {program} now"
    )


def test_a_system_without_the_directory_or_the_program_has_no_store(
    folder: Path, certificate: Certificate, programs: FakePrograms
) -> None:
    assert list(system_steps(certificate, False, programs.find)) == []
    programs.add("update-it")
    folder.rmdir()
    assert list(system_steps(certificate, False, programs.find)) == []


def test_debian_and_fedora_are_known() -> None:
    assert [store.update[0] for store in system_store.SYSTEM_STORES] == [
        "update-ca-certificates", "update-ca-trust",
    ]  # fmt: skip
