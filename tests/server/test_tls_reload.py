"""Certificates that are read again: when, and what happens to bad ones."""

import logging
import os
from pathlib import Path

import pytest

from cmux_proxy import CertificateError, Config, Tls
from cmux_proxy.server.file_watch import CHECK_INTERVAL
from cmux_proxy.server.reload import can_reload, load_certificates, reload
from cmux_proxy.server.tls_reload import CertificateFiles
from tests.helpers.tls import expired_leaf, leaf, write_pem


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    return CertificateFiles(Tls(certs=[cert], keys=[key]))


def test_without_certificates_there_is_nothing() -> None:
    assert load_certificates(Config()) is None


def test_certificates_can_be_reloaded(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    assert can_reload(Config(tls=Tls(certs=[cert], keys=[key])))
    calls: list[str] = []
    reload(Config(), None, [], lambda: calls.append("certificates"))
    assert calls == ["certificates"]


def test_a_reload_replaces_the_context(
    files: CertificateFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = files.server.context
    write_pem(tmp_path, "a", leaf("b.example"))
    files.reload()
    assert files.server.context is not before
    assert caplog.messages == ["certificates reloaded: 1"]


def test_a_bad_certificate_changes_nothing(
    files: CertificateFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = files.server.context
    cert, _ = write_pem(tmp_path, "a", expired_leaf("a.example"))
    files.reload()
    assert files.server.context is before
    [line] = caplog.messages
    assert line.startswith(
        f"cannot reload the certificates, the old ones stay in use: the certificate in {cert} "
        "has expired on "
    )


def test_changed_files_are_read_once_they_stay_as_they_are(
    files: CertificateFiles, tmp_path: Path
) -> None:
    seconds = 100.0
    contexts = [files.server.context]

    def pass_time() -> bool:
        """Return whether the files were read at the next check."""
        nonlocal seconds
        seconds += CHECK_INTERVAL
        files.check(seconds)
        files.check(seconds + CHECK_INTERVAL / 2)
        contexts.append(files.server.context)
        return contexts[-1] is not contexts[-2]

    assert not pass_time()
    write_pem(tmp_path, "a", leaf("b.example"))
    # It has just changed, and its key may follow.
    assert not pass_time()
    assert pass_time()
    assert not pass_time()
    # A link that leads to another file is a change too, as in Kubernetes.
    cert, key = write_pem(tmp_path, "c", leaf("c.example"))
    for path, name in ((cert, "a.pem"), (key, "a.key")):
        (tmp_path / name).unlink()
        os.symlink(path, tmp_path / name)
    assert not pass_time()
    assert pass_time()


def test_a_file_that_is_gone_is_one_line(
    files: CertificateFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.pem").unlink()
    for turn in range(1, 6):
        files.check(turn * CHECK_INTERVAL)
    assert len(caplog.messages) == 1
    assert "No such file or directory" in caplog.messages[0]


def test_bad_files_are_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CertificateError):
        load_certificates(Config(tls=Tls(certs=[str(tmp_path / "missing")])))
