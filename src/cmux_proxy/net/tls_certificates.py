"""Certificates with their keys, read of PEM files: TLS contexts of a server, and their names.

A context is tried out before it is used: a handshake in memory shows that the key works, and what
the certificate says. Each error is one sentence with a remedy. Does not know which certificate a
client gets: `tls_contexts.py` does.
"""

import re
import ssl
import time
from typing import Any, Final, NoReturn

from cmux_proxy.errors import CertificateError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
# X509_V_FLAG_NO_CHECK_TIME of <openssl/x509_vfy.h>: the times are checked here, for their dates.
_NO_CHECK_TIME: Final = 0x200000
_FIELD: Final = "tls.certs"
_KEY_FIELD: Final = "tls.keys"


class Certificate:
    """A context with one certificate, and the names in it, in lower case."""

    __slots__ = ("context", "names")

    def __init__(self, context: ssl.SSLContext, names: list[str]) -> None:
        self.context = context
        self.names = names


def load_certificate(cert_path: str, key_path: str) -> Certificate:
    """Return a context for servers with the certificate of a file; raise CertificateError."""
    certificate = _CERTIFICATE.search(_read(cert_path, _FIELD))
    if certificate is None:
        _fail(_FIELD, f"{cert_path} has no certificate in PEM format, which begins with "
                      "-----BEGIN CERTIFICATE-----")  # fmt: skip
    if _PRIVATE_KEY.search(_read(key_path, _KEY_FIELD)) is None:
        remedy = "; name the file of the key with tls-key" if key_path == cert_path else ""
        _fail(_KEY_FIELD, f"{key_path} has no private key in PEM format{remedy}")
    context = new_server_context()
    _load_pair(context, cert_path, key_path)
    fields = _try_out(context, certificate[0], cert_path)
    _check_time(fields, cert_path)
    return Certificate(context, _names(fields))


def new_server_context() -> ssl.SSLContext:
    """Return a context of a server for TLS 1.2 and newer, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could make the server compute without end.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


class Authorities:
    """The certificates of authorities, as a file has them now.

    Raises CertificateError, which names `field`.
    """

    def __init__(self, path: str, field: str) -> None:
        self._path = path
        self._field = field
        self._certificates = "\n".join(_CERTIFICATE.findall(_read(path, field)))
        if not self._certificates:
            _fail(field, f"{path} has no certificate of an authority in PEM format")

    def trust_in(self, context: ssl.SSLContext) -> None:
        """Trust them; raise CertificateError."""
        try:
            context.load_verify_locations(cadata=self._certificates)
        except (ValueError, ssl.SSLError) as error:
            _fail(self._field, f"{self._path} cannot be used: {_reason(error)}")

    def require_in(self, context: ssl.SSLContext) -> None:
        """Require certificates of them; raise CertificateError."""
        self.trust_in(context)
        context.verify_mode = ssl.CERT_REQUIRED


def _read(path: str, field: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        _fail(field, f"cannot read {path}: {error.strerror}; check the path and its permissions")


def _load_pair(context: ssl.SSLContext, cert_path: str, key_path: str) -> None:
    try:
        context.load_cert_chain(cert_path, key_path, lambda: _refuse_passphrase(key_path))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _fail(_KEY_FIELD, f"the key in {key_path} does not belong to the certificate in "
                  f"{cert_path}; name the keys in the order of the certificates")  # fmt: skip
        where = cert_path if key_path == cert_path else f"{cert_path} with {key_path}"
        # The ssl module has no reason where OpenSSL cannot decode what is between the PEM lines.
        reason = _reason(error) if error.reason else "it is damaged; write it again"
        _fail(_FIELD, f"{where} cannot be used: {reason}")
    except OSError as error:
        _fail(_FIELD, f"cannot read {cert_path}: {error.strerror}")


def _refuse_passphrase(key_path: str) -> NoReturn:
    _fail(_KEY_FIELD, f"the key in {key_path} has a passphrase; write it without: "
                      f"openssl pkey -in {key_path} -out FILE")  # fmt: skip


def _try_out(context: ssl.SSLContext, certificate: str, path: str) -> dict[str, Any]:
    """Shake hands with a client that trusts this certificate; return its fields."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    try:
        trusting.load_verify_locations(cadata=certificate)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(to_server, to_client, server_side=True)
        client = trusting.wrap_bio(to_client, to_server)
        for end in (client, server, client):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
        fields = client.getpeercert()
    except (ssl.SSLError, ValueError) as error:
        _fail(_FIELD, f"the certificate in {path} cannot be used: {_reason(error)}")
    return fields or {}


def _check_time(fields: dict[str, Any], path: str) -> None:
    now = time.time()
    if now > ssl.cert_time_to_seconds(fields["notAfter"]):
        _fail(_FIELD, f"the certificate in {path} has expired on {fields['notAfter']}; renew it")
    if now < ssl.cert_time_to_seconds(fields["notBefore"]):
        _fail(_FIELD, f"the certificate in {path} is not valid before {fields['notBefore']}; "
                      "check the clock of this machine")  # fmt: skip


def _names(fields: dict[str, Any]) -> list[str]:
    """Return the DNS names of a certificate; clients look nowhere else (RFC 9525 section 4.1)."""
    return [name.lower() for kind, name in fields.get("subjectAltName", ()) if kind == "DNS"]


def _reason(error: Exception) -> str:
    message = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(message or getattr(error, "strerror", None) or error).lower().replace("_", " ")


def _fail(field: str, reason: str) -> NoReturn:
    raise CertificateError(field, reason) from None
