"""Certificates and keys out of files: which work, and what is said about those that do not."""

import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from cmux_proxy.errors import CertificateError
from cmux_proxy.net.tls_certificates import (
    Authorities,
    load_certificate,
    new_server_context,
)
from tests.helpers.tls import (
    authority,
    expired_leaf,
    leaf,
    not_yet_valid_leaf,
    write_authority,
    write_pem,
)
from tests.helpers.tools import tool


def reason_of(cert: str, key: str) -> str:
    """Return why files cannot be used."""
    with pytest.raises(CertificateError) as caught:
        load_certificate(cert, key)
    return caught.value.reason


def test_a_certificate_has_a_context_and_names(tmp_path: Path) -> None:
    files = write_pem(tmp_path, "a", leaf("App.example", "*.b.example", "127.0.0.1"))
    certificate = load_certificate(*files)
    assert sorted(certificate.names) == ["*.b.example", "app.example"]
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert certificate.context.options & ssl.OP_NO_RENEGOTIATION


def test_one_file_may_have_both(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    both = tmp_path / "both.pem"
    both.write_bytes(Path(key).read_bytes() + Path(cert).read_bytes())
    assert load_certificate(str(both), str(both)).names == ["a.example"]


def test_a_certificate_of_an_rsa_key_works(tmp_path: Path) -> None:
    certificate = authority().issue_cert("a.example", key_type=trustme.KeyType.RSA)
    assert load_certificate(*write_pem(tmp_path, "a", certificate)).names == ["a.example"]


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    cert, _ = write_pem(tmp_path, "a", leaf("a.example"))
    _, key = write_pem(tmp_path, "b", leaf("b.example"))
    assert reason_of(cert, key) == (
        f"the key in {key} does not belong to the certificate in {cert}; name the keys in the "
        "order of the certificates"
    )


def test_a_certificate_whose_time_is_over_is_named(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", expired_leaf("a.example"))
    assert f"the certificate in {cert} has expired on " in reason_of(cert, key)


def test_a_certificate_whose_time_has_not_come_is_named(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", not_yet_valid_leaf("a.example"))
    assert f"the certificate in {cert} is not valid before " in reason_of(cert, key)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    missing = str(tmp_path / "missing.pem")
    expected = (
        f"cannot read {missing}: No such file or directory; check the path and its permissions"
    )
    assert reason_of(missing, key) == expected
    assert reason_of(cert, missing) == expected
    assert "Is a directory" in reason_of(str(tmp_path), key)


def test_a_file_without_certificate_or_key_is_named(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    assert f"{key} has no certificate in PEM format" in reason_of(key, key)
    assert reason_of(cert, cert) == (
        f"{cert} has no private key in PEM format; name the file of the key with tls-key"
    )
    other, _ = write_pem(tmp_path, "b", leaf("b.example"))
    assert reason_of(cert, other) == f"{other} has no private key in PEM format"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    lines = Path(cert).read_text().splitlines()
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("\n".join([lines[0], *lines[5:]]))
    assert f"{damaged} with {key} cannot be used: " in reason_of(str(damaged), key)
    damaged.write_text(Path(key).read_text().replace("\n", "\n!", 2))
    assert reason_of(cert, str(damaged)) == (
        f"{cert} with {damaged} cannot be used: it is damaged; write it again"
    )


def test_a_key_with_a_passphrase_is_named_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    locked = tmp_path / "locked.key"
    command = [tool("openssl"), "pkey", "-in", key, "-aes256", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", str(locked)], check=True)
    assert reason_of(cert, str(locked)) == (
        f"the key in {locked} has a passphrase; write it without: openssl pkey -in {locked} "
        "-out FILE"
    )


def test_a_certificate_that_is_not_for_servers_is_named(tmp_path: Path) -> None:
    path, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=a", "-days", "2",
         "-addext", "extendedKeyUsage=clientAuth", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert f"the certificate in {path} cannot be used: " in reason_of(str(path), str(key))


def test_the_file_of_an_authority_is_checked(tmp_path: Path) -> None:
    context = new_server_context()
    Authorities(write_authority(tmp_path), "tls.client_ca").require_in(context)
    assert context.verify_mode == ssl.CERT_REQUIRED
    for content, reason in (
        ("nothing", "has no certificate of an authority in PEM format"),
        ("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n", "cannot be used: "),
    ):
        path = tmp_path / "bad.pem"
        path.write_text(content)
        with pytest.raises(CertificateError, match=reason):
            Authorities(str(path), "tls.client_ca").require_in(context)
