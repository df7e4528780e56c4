"""cmux-proxy trust: says what it does, does it, and leaves the rest to its user."""

import os
import sys
from pathlib import Path

import pytest

from cmux_proxy import cli
from cmux_proxy.server import optional_packages
from cmux_proxy.server.authority_file import AuthorityFile
from cmux_proxy.trust import stores, system_store
from cmux_proxy.trust.system_store import SystemStore
from tests.helpers.authority_files import use_state
from tests.helpers.fake_programs import FakePrograms
from tests.helpers.proxies import MODULE, environment
from tests.helpers.tools import finish

Output = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    return use_state(tmp_path / "state", monkeypatch)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """Let the fake programs be all that there are, and a folder the home directory."""
    programs = FakePrograms(tmp_path / "bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(system_store, "SYSTEM_STORES", ())
    monkeypatch.setattr(stores, "find_program", programs.find)
    monkeypatch.setattr(sys, "platform", "linux")
    return programs


def add_system_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store = SystemStore(str(folder), ("update-it",), ("update-it",))
    folder.mkdir()
    monkeypatch.setattr(system_store, "SYSTEM_STORES", (store,))
    return folder


def add_browser(home: Path) -> str:
    path = home / ".pki" / "nssdb"
    path.mkdir(parents=True)
    (path / "cert9.db").touch()
    return str(path)


def test_each_store_is_named_with_its_commands_before_they_run(
    file: AuthorityFile, programs: FakePrograms, tmp_path: Path, capsys: Output
) -> None:
    database = add_browser(tmp_path)
    certutil = programs.add("certutil", "! echo $* | grep -q -e -L")
    assert cli.main(["--host-suffix", "example.dev", "trust"]) == 0
    name = file.load(["example.dev"]).name()
    assert capsys.readouterr().out == (
        f"{name} can issue certificates for these names and those below them,\n"
        "and for loopback addresses, and for nothing else: localhost, example.dev\n"
        f"Its certificate is {file.certificate_path}\n\n"
        f"Chromium, Chrome and others: {database}\n"
        f"  {certutil} -d sql:{database} -A -t C,, -n '{name}' -i {file.certificate_path}\n"
        "  done\n"
        "Restart browsers that are running.\n"
    )
    assert programs.started()[-1].startswith(f"certutil -d sql:{database} -A ")


def test_what_cannot_be_done_is_printed_and_the_status_is_1(
    file: AuthorityFile,
    programs: FakePrograms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    programs.add("update-it")
    add_system_store(tmp_path / "certificates", monkeypatch)
    add_browser(tmp_path)
    programs.add("certutil", "echo 'certutil: locked' >&2; exit 1")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert cli.main(["trust"]) == 1
    out = capsys.readouterr().out
    assert "\n  sudo install -m 644 " in out
    assert f" && sudo {programs.folder}/update-it\n" in out
    assert "  not done: this user may not write there; run the line above\n" in out
    assert "  not done: certutil: locked; run the line above\n" in out
    assert "Restart" not in out
    assert {line.split()[0] for line in programs.started()} == {"certutil"}


def test_a_removal_that_is_not_complete_keeps_the_authority(
    file: AuthorityFile,
    programs: FakePrograms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    programs.add("update-it", "exit 1")
    folder = add_system_store(tmp_path / "certificates", monkeypatch)
    authority, _ = file.load_or_make([])
    installed = folder / (authority.name().replace(" ", "-") + ".crt")
    installed.write_bytes(authority.certificate_pem())
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert cli.main(["trust", "--remove"]) == 1
    out = capsys.readouterr().out
    assert out.endswith(f"The authority stays in {file.path} until it is removed everywhere.\n")
    assert file.exists()
    # Its user has run the line.
    installed.unlink()
    assert cli.main(["trust", "--remove"]) == 0
    assert capsys.readouterr().out.endswith(f"  done already\nDeleted {file.path}\n")
    assert not file.exists()
    assert cli.main(["trust", "--remove"]) == 0
    assert capsys.readouterr().out == f"There is no authority in {file.path}\n"


def test_an_authority_that_has_expired_can_be_removed(
    file: AuthorityFile, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    file.load_or_make([])
    monkeypatch.setattr("cmux_proxy.net.tls_authority.Authority.has_expired", lambda _self: True)
    assert cli.main(["trust"]) == 1
    assert " has expired; remove it with: cmux-proxy trust --remove" in capsys.readouterr().err
    assert cli.main(["trust", "--remove"]) == 0
    assert not file.exists()


def test_a_file_that_cannot_be_deleted_is_one_line(
    file: AuthorityFile, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    file.load_or_make([])

    def fail(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", fail)
    assert cli.main(["trust", "--remove"]) == 1
    expected = f"cmux-proxy: error: cannot delete {file.path}: Permission denied\n"
    assert capsys.readouterr().err == expected


def test_a_system_without_stores_is_not_trusting(
    file: AuthorityFile, programs: FakePrograms, capsys: Output
) -> None:
    assert cli.main(["trust"]) == 1
    assert capsys.readouterr().out.endswith("No store of this system is known.\n")


def test_the_path_of_the_certificate_is_printed(
    file: AuthorityFile, programs: FakePrograms, capsys: Output
) -> None:
    assert cli.main(["trust", "--print"]) == 1
    assert capsys.readouterr().err == (
        f"cmux-proxy: error: there is no authority in {file.path} yet; start the proxy with --tls "
        "auto\n"
    )
    assert not file.exists()
    file.load_or_make(["example.dev"])
    os.unlink(file.certificate_path)
    assert cli.main(["trust", "--print"]) == 0
    assert capsys.readouterr().out == f"{file.certificate_path}\n"
    assert os.path.exists(file.certificate_path)


def test_the_packages_of_the_extra_are_required(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(optional_packages, "_is_installed", lambda _name: False)
    assert cli.main(["trust"]) == 1
    assert capsys.readouterr().err == (
        "cmux-proxy: error: needs packages that are not installed: pip install 'cmux-proxy[tls]'\n"
    )


async def test_the_domains_of_the_server_are_read(file: AuthorityFile, tmp_path: Path) -> None:
    # A domain that is not covered ends the command before it changes a store.
    file.load_or_make([])
    path = tmp_path / "proxy.toml"
    path.write_text('host-suffix = "example.dev"\nauth-token-file = "/root/none"\n')
    for variables in ({"CMUX_HOST_SUFFIX": "example.dev"}, {"CMUX_CONFIG": str(path)}):
        done = await finish(
            *MODULE, "trust", variables=environment(**variables, CMUX_LISTEN="not good")
        )
        assert (done.status, done.out) == (1, b"")
        assert b"cannot issue for example.dev; remove it with: " in done.errors
