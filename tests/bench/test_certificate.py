"""The certificate of the scenarios with TLS."""

import ssl
from pathlib import Path

import pytest

from bench.load import certificate as certificates
from bench.load.certificate import certificate
from bench.load.processes import BenchError
from tests.helpers.tools import tool


def test_one_file_has_the_certificate_and_its_key(tmp_path: Path) -> None:
    tool("openssl")
    path = certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cafile=str(path))
    (found,) = client.get_ca_certs()
    assert found["subjectAltName"] == (("DNS", "localhost"), ("IP Address", "127.0.0.1"))


def test_it_is_made_once_for_a_directory(tmp_path: Path) -> None:
    tool("openssl")
    texts = [certificate(tmp_path).read_text() for _ in range(2)]
    assert texts[0] == texts[1]


def test_without_openssl_it_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "find_program", lambda _name: None)
    with pytest.raises(BenchError, match="apt-get install openssl"):
        certificate(tmp_path)
