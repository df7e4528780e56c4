"""The local authority: what it can issue for, judged by OpenSSL and by Python's clients."""

import datetime
import ssl
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cmux_proxy.net.tls_authority import (
    LEAF_LIFETIME,
    Authority,
    is_within,
    key_to_pem,
    new_key,
)
from tests.helpers.tools import tool

DOMAINS = ["example.dev"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make(DOMAINS)


def verdict(authority: Authority, folder: Path, names: list[str], addresses: list[str]) -> str:
    """Return what openssl says of a certificate that the authority issues."""
    leaf = authority.issue(new_key().public_key(), names, [ip_address(text) for text in addresses])
    (folder / "authority.pem").write_bytes(authority.certificate_pem())
    (folder / "leaf.pem").write_bytes(leaf.pem)
    command = [tool("openssl"), "verify", "-x509_strict", "-purpose", "sslserver"]
    done = subprocess.run(
        [*command, "-CAfile", folder / "authority.pem", folder / "leaf.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "ok" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize(
    ("names", "addresses"),
    [
        (["localhost"], ["127.0.0.1", "::1"]),
        (["3000.localhost"], []),
        (["a.b.localhost"], []),
        (["ws-1-3000.example.dev"], []),
        (["example.dev"], []),
        ([], ["127.18.0.7"]),
    ],
    ids=str,
)
def test_own_names_are_accepted(
    authority: Authority, tmp_path: Path, names: list[str], addresses: list[str]
) -> None:
    assert verdict(authority, tmp_path, names, addresses) == "ok"


@pytest.mark.parametrize(
    ("names", "addresses"),
    [
        (["bank.example"], []),
        (["notexample.dev"], []),
        (["3000.localhost", "bank.example"], []),
        (["3000.localhost"], ["192.0.2.1"]),
        ([], ["::2"]),
        (["dev"], []),
    ],
    ids=str,
)
def test_other_names_are_refused(
    authority: Authority, tmp_path: Path, names: list[str], addresses: list[str]
) -> None:
    assert "permitted subtree violation" in verdict(authority, tmp_path, names, addresses)


def test_the_constraints_are_critical_and_the_authority_can_do_nothing_else(
    authority: Authority,
) -> None:
    extensions = authority.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert authority.domains() == ["localhost", "example.dev"]
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.path_length) == (True, 0)
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.OID_SERVER_AUTH]


def test_a_leaf_has_exact_names_and_ends_after_90_days(authority: Authority) -> None:
    leaf = authority.issue(new_key().public_key(), ["3000.localhost"], [])
    certificate = x509.load_pem_x509_certificate(leaf.pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["3000.localhost"]
    until = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert abs(until - LEAF_LIFETIME) < datetime.timedelta(minutes=5)
    assert leaf.ends == certificate.not_valid_after_utc.timestamp()
    assert certificate.public_key() != authority.certificate.public_key()


def test_domains_that_the_authority_covers(authority: Authority) -> None:
    assert authority.covers("localhost")
    assert authority.covers("example.dev")
    assert authority.covers("team.example.dev")
    assert not authority.covers("dev")
    assert not authority.covers("notexample.dev")
    assert is_within("a.localhost", "localhost")
    assert not is_within("alocalhost", "localhost")


def test_each_authority_has_a_name_of_its_own() -> None:
    one, other = Authority.make([]), Authority.make([])
    assert one.name().startswith("cmux-proxy authority ")
    assert one.name() != other.name()


def test_an_authority_is_what_its_pem_says(authority: Authority) -> None:
    again = Authority.from_pem(authority.to_pem())
    assert again.certificate == authority.certificate
    assert b"PRIVATE KEY" not in authority.certificate_pem()
    assert not again.has_expired()


def test_what_is_no_authority_is_refused(authority: Authority) -> None:
    other = Authority.make([])
    leaf_key = new_key()
    leaf = authority.issue(leaf_key.public_key(), ["localhost"], [])
    rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    own_key = authority.to_pem().partition(b"-----BEGIN CERTIFICATE")[0]
    for pem, reason in (
        (b"", "PEM"),
        (own_key, "PEM"),
        (own_key + other.certificate_pem(), "does not belong to its certificate"),
        (rsa_key + authority.certificate_pem(), "not of an elliptic curve"),
        (key_to_pem(leaf_key) + leaf.pem, "not that of an authority"),
    ):
        with pytest.raises((ValueError, TypeError), match=reason):
            Authority.from_pem(pem)


def certificate_without_constraints(
    key: ec.EllipticCurvePrivateKey, days: int, *extensions: x509.ExtensionType
) -> x509.Certificate:
    """Return a certificate that ends in some days."""
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "short")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=9))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def test_a_certificate_without_extensions_is_no_authority() -> None:
    key = new_key()
    pem = certificate_without_constraints(key, 9).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(ValueError, match="not that of an authority"):
        Authority.from_pem(key_to_pem(key) + pem)


@pytest.mark.parametrize(("days", "has_expired"), [(3, False), (-1, True)])
def test_a_leaf_does_not_outlive_its_authority(days: int, has_expired: bool) -> None:
    key = new_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    basic = x509.BasicConstraints(True, None)
    certificate = certificate_without_constraints(key, days, identifier, basic)
    authority = Authority(key, certificate)
    assert authority.has_expired() == has_expired
    # Nothing says for which names it may issue, so it is not used for any.
    assert authority.domains() == []
    if not has_expired:
        leaf = authority.issue(new_key().public_key(), ["localhost"], [])
        assert leaf.ends == certificate.not_valid_after_utc.timestamp()


def test_python_trusts_the_certificate(authority: Authority) -> None:
    context = ssl.create_default_context(cadata=authority.certificate_pem().decode())
    assert authority.name() in str(context.get_ca_certs())
