"""The databases of Chromium and Firefox, with a fake certutil and with the real one."""

import shutil
from pathlib import Path

import pytest

from cmux_proxy.net.tls_authority import Authority
from cmux_proxy.trust.nss_databases import nss_steps
from cmux_proxy.trust.step import Certificate, Failure, Step
from tests.helpers.fake_programs import FakePrograms
from tests.helpers.tools import SEARCHED, tool

CHROMIUM = ".pki/nssdb"
PROFILE = ".mozilla/firefox/ab.default release"


def add_database(home: Path, name: str) -> Path:
    """Add an empty file in the place of a database; return its folder."""
    folder = home / name
    folder.mkdir(parents=True)
    (folder / "cert9.db").touch()
    return folder


def test_each_database_of_a_user_is_found(
    tmp_path: Path,
    certificate: Certificate,
    programs: FakePrograms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [
        CHROMIUM, "snap/chromium/current/.pki/nssdb", ".local/share/pki/nssdb", PROFILE,
        ".mozilla/firefox/cd.other", "snap/firefox/common/.mozilla/firefox/a",
        ".var/app/org.mozilla.firefox/.mozilla/firefox/a",
        "Library/Application Support/Firefox/Profiles/a",
    ]  # fmt: skip
    folders = [add_database(tmp_path, name) for name in names]
    (tmp_path / ".mozilla/firefox/Crash Reports").mkdir()
    program = programs.add("certutil", "exit 1")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    steps = list(nss_steps(certificate, False, programs.find, str(tmp_path)))
    assert [step.store.partition(": ")[2] for step in steps] == list(map(str, folders))
    assert [step.store.partition(":")[0] for step in steps[2:4]] == [
        "Chromium, Chrome and others", "Firefox",
    ]  # fmt: skip
    [command] = steps[3].commands
    assert command == (
        program, "-d", f"sql:{tmp_path / PROFILE}", "-A", "-t", "C,,", "-n", certificate.name,
        "-i", certificate.path,
    )  # fmt: skip


def test_the_data_of_programs_may_be_elsewhere(
    tmp_path: Path,
    certificate: Certificate,
    programs: FakePrograms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = add_database(tmp_path, "data/pki/nssdb")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    [step] = nss_steps(certificate, False, programs.find, str(tmp_path / "home"))
    assert step.store == f"Chromium, Chrome and others: {folder}"


def test_without_certutil_the_commands_are_for_a_person(
    tmp_path: Path, certificate: Certificate, programs: FakePrograms
) -> None:
    folder = add_database(tmp_path, CHROMIUM)
    for is_removal, last in ((False, f"-i '{certificate.path}'"), (True, f"'{certificate.name}'")):
        [step] = nss_steps(certificate, is_removal, programs.find, str(tmp_path))
        assert step.obstacle.startswith("certutil is not installed; it is in the package libnss3-")
        assert step.by_hand().startswith(f"certutil -d sql:{folder} -")
        assert step.by_hand().endswith(last)
        assert not step.is_done()


def test_a_database_is_made_for_a_browser_that_has_none(
    tmp_path: Path, certificate: Certificate, programs: FakePrograms
) -> None:
    program = programs.add("certutil")
    assert list(nss_steps(certificate, False, programs.find, str(tmp_path))) == []
    programs.add("google-chrome")
    [step] = nss_steps(certificate, False, programs.find, str(tmp_path))
    assert not step.is_done()
    step.run()
    path = tmp_path / CHROMIUM
    assert path.is_dir()
    assert programs.started() == [
        f"certutil -d sql:{path} -N --empty-password",
        f"certutil -d sql:{path} -A -t C,, -n {certificate.name} -i {certificate.path}",
    ]
    assert step.by_hand().startswith(f"mkdir -p -m 700 {path} && {program} -d sql:{path} -N ")
    assert list(nss_steps(certificate, True, programs.find, str(tmp_path))) == []


def test_a_program_that_cannot_be_run_has_done_nothing(
    tmp_path: Path, certificate: Certificate
) -> None:
    add_database(tmp_path, CHROMIUM)
    [step] = nss_steps(certificate, True, lambda _name: "/no/such", str(tmp_path))
    assert not step.is_done()


# The real certutil


@pytest.fixture
def real(tmp_path: Path) -> Certificate:
    tool("certutil")
    authority = Authority.make([])
    path = tmp_path / "authority.pem"
    path.write_bytes(authority.certificate_pem())
    return Certificate(str(path), authority.certificate_pem(), authority.name())


def find(name: str) -> str | None:
    """Find all programs, and a Chromium if there is none."""
    return shutil.which(name, path=SEARCHED) or (name if name == "chromium" else None)


def only_step(certificate: Certificate, home: Path, is_removal: bool) -> Step:
    [step] = nss_steps(certificate, is_removal, find, str(home))
    return step


def test_certutil_adds_and_removes(tmp_path: Path, real: Certificate) -> None:
    step = only_step(real, tmp_path, False)
    step.run()
    assert step.is_done()
    # A second time, in the database that is there now.
    again = only_step(real, tmp_path, False)
    assert again.is_done()
    again.run()
    removal = only_step(real, tmp_path, True)
    assert not removal.is_done()
    removal.run()
    assert removal.is_done()
    assert not again.is_done()
    with pytest.raises(Failure, match="certutil: could not find certificate named"):
        removal.run()


def test_certutil_knows_another_certificate_of_the_same_name(
    tmp_path: Path, real: Certificate
) -> None:
    only_step(real, tmp_path, False).run()
    other = real._replace(pem=Authority.make([]).certificate_pem())
    assert not only_step(other, tmp_path, False).is_done()


def test_the_reason_of_certutil_is_reported(tmp_path: Path, real: Certificate) -> None:
    only_step(real, tmp_path, False).run()
    missing = real._replace(path=str(tmp_path / "gone.pem"))
    with pytest.raises(Failure, match=r"certutil: .*gone\.pem"):
        only_step(missing, tmp_path, False).run()
