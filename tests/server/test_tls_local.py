"""Certificates of a local authority in a running proxy: reloads and renewals."""

import logging
import os
import ssl
import time
from pathlib import Path

import pytest

from cmux_proxy import CertificateError, Config, ConfigError, Routing, Tls
from cmux_proxy.server import optional_packages
from cmux_proxy.server.authority_file import AuthorityFile
from cmux_proxy.server.file_watch import CHECK_INTERVAL
from cmux_proxy.server.reload import can_reload, load_certificates
from cmux_proxy.server.tls_local import LocalCertificates
from tests.helpers.authority_files import client_trusting, use_state
from tests.helpers.tls import leaf, write_authority, write_pem
from tests.net.test_tls_contexts import shake_hands

DAY = 24 * 3600.0
CONFIG = Config(tls=Tls(source="auto"))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    return use_state(tmp_path / "state", monkeypatch)


def accepts(file: AuthorityFile, server: ssl.SSLContext, name: str) -> bool:
    """Return whether a client that trusts the authority accepts the server."""
    return shake_hands(server, client_trusting(file), name)[1].error is None


def test_a_new_authority_is_announced_once(
    file: AuthorityFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        certificates = load_certificates(CONFIG)
        assert isinstance(certificates, LocalCertificates)
    assert caplog.messages == [f"new authority in {file.path}; to trust it: cmux-proxy trust"]


def test_only_files_that_are_configured_are_read_at_a_hangup() -> None:
    assert not can_reload(CONFIG)
    assert can_reload(Config(tls=Tls(source="auto", client_ca="clients.pem")))


def test_both_servers_have_certificates_and_their_own_protocols(file: AuthorityFile) -> None:
    listen = ["127.18.3.4:0", "[::ffff:127.0.0.9]:0", "0.0.0.0:0", "unix:/a"]
    config = Config(tls=Tls(source="auto"), listen=listen)
    certificates = LocalCertificates(config)
    for server, protocol in ((certificates.server, "h2"), (certificates.http1_server, "http/1.1")):
        client = client_trusting(file, "h2", "http/1.1")
        for name in ("localhost", "127.0.0.1", "127.18.3.4", "127.0.0.9", "3000.localhost"):
            _, end = shake_hands(server.context, client, name)
            assert (end.error, end.session.selected_alpn_protocol()) == (None, protocol)


def test_clients_need_certificates_if_the_flag_says_so(file: AuthorityFile, tmp_path: Path) -> None:
    tls = Tls(source="auto", client_ca=write_authority(tmp_path))
    server = LocalCertificates(Config(tls=tls)).server.context
    # The certificate for a name that comes later needs no file.
    (tmp_path / "authority.pem").unlink()
    for name in ("localhost", "3000.localhost"):
        client = client_trusting(file)
        end, _ = shake_hands(server, client, name)
        assert end.error is not None
        leaf("client.example").configure_cert(client)
        end, _ = shake_hands(server, client, name)
        assert end.is_open


def test_an_authority_that_replaces_the_old_one_is_read(
    file: AuthorityFile, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = LocalCertificates(CONFIG)
    before = certificates.server.context
    certificates.check(CHECK_INTERVAL)
    file.remove()
    file.load_or_make([])
    assert not accepts(file, before, "localhost")
    caplog.set_level(logging.INFO)
    for turn in range(2, 6):
        certificates.check(turn * CHECK_INTERVAL)
    assert [line.partition(":")[0] for line in caplog.messages] == ["authority reloaded"]
    for server in (certificates.server, certificates.http1_server):
        assert accepts(file, server.context, "localhost")
        assert accepts(file, server.context, "3000.localhost")


def test_an_authority_that_is_gone_or_broken_changes_nothing(
    file: AuthorityFile, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = LocalCertificates(CONFIG)
    before = certificates.server.context
    os.rename(file.path, file.path + ".old")
    certificates.reload()
    Path(file.path).write_text("nonsense")
    os.chmod(file.path, 0o600)
    certificates.reload()
    assert certificates.server.context is before
    assert accepts(file, before, "3000.localhost")
    for line, reason in zip(caplog.messages, ("No such file", "cannot be used"), strict=True):
        assert line.startswith("cannot reload the certificates, the old ones stay in use: ")
        assert reason in line


def test_the_default_is_renewed_before_it_ends(file: AuthorityFile) -> None:
    seconds = time.time()
    certificates = LocalCertificates(CONFIG, lambda: seconds)
    servers = (certificates.server, certificates.http1_server)
    before = [server.context for server in servers]
    seconds += 59 * DAY
    certificates.check(CHECK_INTERVAL)
    assert [server.context for server in servers] == before
    seconds += 2 * DAY
    # Too soon for the next look.
    certificates.check(CHECK_INTERVAL * 1.5)
    assert [server.context for server in servers] == before
    certificates.check(CHECK_INTERVAL * 2)
    renewed = [server.context for server in servers]
    assert not set(renewed) & set(before)
    assert accepts(file, renewed[0], "3000.localhost")
    certificates.check(CHECK_INTERVAL * 3)
    assert [server.context for server in servers] == renewed


def test_auto_contradicts_files(tmp_path: Path, file: AuthorityFile) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    for options in ({"certs": [cert]}, {"certs": [cert], "keys": [key]}, {"keys": [key]}):
        with pytest.raises(ConfigError, match="auto issues certificates; leave out --tls-cert"):
            load_certificates(Config(tls=Tls(source="auto", **options)))  # type: ignore[arg-type]
    assert not os.path.exists(file.path)


def test_the_package_of_the_extra_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_packages, "_is_installed", lambda name: name != "cryptography")
    with pytest.raises(ConfigError, match=r"pip install 'cmux-proxy\[tls\]'"):
        load_certificates(CONFIG)


def test_plain_text_can_be_refused(file: AuthorityFile) -> None:
    Tls(source="auto", plain_text="redirect").check()
    with pytest.raises(ConfigError, match="with --tls-cert, or --tls auto"):
        Tls(plain_text="redirect").check()


def test_domains_are_those_of_the_routes(file: AuthorityFile) -> None:
    config = Config(tls=Tls(source="auto"), routing=Routing(host_suffixes=["example.dev"]))
    server = LocalCertificates(config).server.context
    assert accepts(file, server, "ws-1-3000.example.dev")
    assert not accepts(file, server, "3000.example.test")


def test_without_descriptors_the_old_certificates_stay(
    file: AuthorityFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    seconds = time.time()
    certificates = LocalCertificates(CONFIG, lambda: seconds)
    before = certificates.server.context
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", fail)
        with pytest.raises(CertificateError, match="cannot make a certificate: Too many open"):
            LocalCertificates(CONFIG)
        certificates.reload()
        seconds += 61 * DAY
        certificates.check(CHECK_INTERVAL)
    assert certificates.server.context is before
    assert accepts(file, before, "3000.localhost")
    line = "the old ones stay in use: cannot make a certificate: Too many open files"
    assert [message.endswith(line) for message in caplog.messages] == [True, True]
    certificates.check(2 * CHECK_INTERVAL)
    assert certificates.server.context is not before
