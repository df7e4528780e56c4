"""The name of an upstream with TLS, and whose certificates are accepted; without sockets."""

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from cmux_proxy import CertificateError, Target
from cmux_proxy.upstream.upstream_tls import UpstreamTls, server_name
from tests.helpers.tls import write_authority


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "localhost"), ("127.18.0.1", "localhost"), ("::1", "localhost"),
        ("localhost", "localhost"), ("10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"),
        ("a.example", "a.example"), ("a.example.", "a.example"),
    ],
)  # fmt: skip
def test_the_name_is_that_of_the_upstream(host: str, name: str) -> None:
    assert server_name(host) == name


@pytest.mark.parametrize(
    ("host", "has_file", "is_verified"),
    [
        ("127.0.0.1", False, False), ("127.0.0.1", True, True),
        ("a.example", False, True), ("a.example", True, True),
    ],
)  # fmt: skip
def test_all_are_verified_except_on_the_loopback_without_a_file(
    host: str, has_file: bool, is_verified: bool, tmp_path: Path
) -> None:
    tls = UpstreamTls(write_authority(tmp_path) if has_file else None)
    context = tls.new_engine(Target(host, 1)).context
    assert context.verify_mode == (ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE)
    assert context.check_hostname is is_verified
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.new_engine(Target(host, 2)).context is context


def test_a_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_text("")
    with pytest.raises(CertificateError, match="has no certificate of an authority") as caught:
        UpstreamTls(str(path))
    assert caught.value.field == "upstreams.ca"


def test_openssl_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from cmux_proxy.upstream.upstream_tls import UpstreamTls; UpstreamTls();"
        "sys.exit('_ssl' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
