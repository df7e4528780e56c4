"""Which certificate a client gets, and what is negotiated."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmux_proxy.net.tls_certificates import Certificate, new_server_context
from cmux_proxy.net.tls_contexts import CertificateTable, load_server_context
from tests.helpers.tls import TlsPeer, client_context, leaf, write_authority, write_pem


@dataclass
class Files:
    certs: list[str]
    keys: list[str]
    client_ca: str | None = None


def files_for(folder: Path, *names: str) -> Files:
    """Write a certificate for each name."""
    pairs = [write_pem(folder, f"{number}", leaf(name)) for number, name in enumerate(names)]
    return Files([cert for cert, _ in pairs], [key for _, key in pairs])


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None
) -> tuple[TlsPeer, TlsPeer]:
    """Return both ends of a session, or of an attempt that ended with an error."""
    ends = TlsPeer(server, True), TlsPeer(client, False, name)
    ends[1].take(b"")
    for _ in range(4):
        ends[0].take(ends[1].outgoing())
        ends[1].take(ends[0].outgoing())
    return ends


def names_for(server: ssl.SSLContext, name: str | None) -> set[str]:
    """Return the names in the certificate that a client gets which asks for a name."""
    client = client_context()
    client.check_hostname = False
    _, end = shake_hands(server, client, name)
    fields = end.session.getpeercert()
    assert fields is not None
    return {str(entry[1]) for entry in fields["subjectAltName"]}


def test_the_server_name_chooses_and_the_first_is_the_default(tmp_path: Path) -> None:
    files = files_for(tmp_path, "a.example", "*.b.example", "c.example")
    context = load_server_context(files, ["http/1.1"])
    for asked, got in (
        ("a.example", "a.example"),
        ("x.b.example", "*.b.example"),
        ("X.B.Example", "*.b.example"),
        ("c.example", "c.example"),
        ("unknown.example", "a.example"),
        ("y.x.b.example", "a.example"),
        (None, "a.example"),
    ):
        assert names_for(context, asked) == {got}, asked


def test_an_exact_name_comes_before_a_wildcard_and_the_first_before_the_next() -> None:
    exact, wildcard, again = (new_server_context() for _ in range(3))
    table = CertificateTable(
        [
            Certificate(wildcard, ["*.a.example"]),
            Certificate(exact, ["x.a.example"]),
            Certificate(again, ["x.a.example", "*.a.example"]),
        ]
    )
    assert table.find("x.a.example.") is exact
    assert table.find("y.a.example") is wildcard
    assert table.find("a.example") is None


def test_the_file_of_a_certificate_may_have_its_key(tmp_path: Path) -> None:
    cert, key = write_pem(tmp_path, "a", leaf("a.example"))
    Path(cert).write_bytes(Path(cert).read_bytes() + Path(key).read_bytes())
    assert names_for(load_server_context(Files([cert], []), []), None) == {"a.example"}


def test_both_ends_agree_on_a_protocol_of_the_list(tmp_path: Path) -> None:
    files = files_for(tmp_path, "a.example", "b.example")
    for protocols, expected in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        context = load_server_context(files, protocols)
        client = client_context("h2", "http/1.1")
        for name in ("a.example", "b.example"):
            _, end = shake_hands(context, client, name)
            assert end.session.selected_alpn_protocol() == expected


def test_a_session_is_resumed(tmp_path: Path) -> None:
    context = load_server_context(files_for(tmp_path, "a.example", "b.example"), ["http/1.1"])
    client = client_context()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client.maximum_version = version
        _, first = shake_hands(context, client, "b.example")
        resuming = TlsPeer(client, False, "b.example", first.session.session)
        server = TlsPeer(context, True)
        resuming.take(b"")
        for _ in range(4):
            server.take(resuming.outgoing())
            resuming.take(server.outgoing())
        assert resuming.session.session_reused, version


def test_a_client_without_a_certificate_of_the_authority_is_refused(tmp_path: Path) -> None:
    files = files_for(tmp_path, "a.example", "b.example")
    files.client_ca = write_authority(tmp_path)
    context = load_server_context(files, ["http/1.1"])
    for name in ("a.example", "b.example"):
        server, _ = shake_hands(context, client_context(), name)
        assert server.error is not None
        assert server.error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
        known = client_context()
        leaf("client.example").configure_cert(known)
        server, client = shake_hands(context, known, name)
        assert server.is_open
        assert client.error is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_old_version_is_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = load_server_context(files_for(tmp_path, "a.example"), [])
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.minimum_version = version
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.maximum_version = version
    server, _ = shake_hands(context, client, "a.example")
    assert server.error is not None
    assert server.error.reason == "UNSUPPORTED_PROTOCOL"
