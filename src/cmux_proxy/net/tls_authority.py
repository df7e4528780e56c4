"""A certificate authority for local development, which can issue for some names only.

Name constraints (RFC 5280 section 4.2.1.10) in its certificate say for which: localhost, some
domains, and the loopback addresses. Does not know where it is stored: `server/authority_file.py`
does. Neighbour: `tls_leaves.py` makes contexts of what it issues. Needs the extra `tls`.
"""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY: Final = datetime.timedelta(days=1)
_AUTHORITY_LIFETIME: Final = 3650 * _DAY
LEAF_LIFETIME: Final = 90 * _DAY
# Clocks of two machines, such as a virtual one and its host, differ.
_CLOCK_DIFFERENCE: Final = _DAY
_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
_PRODUCT: Final = "cmux-proxy"
_KEY_ID_SIZE: Final = 4

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Leaf(NamedTuple):
    """A certificate in PEM format, and the seconds since 1970 at which it ends."""

    pem: bytes
    ends: float


class Authority:
    """A key and its certificate; both must belong together."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        self._issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            identifier.value
        )

    @classmethod
    def make(cls, domains: Iterable[str]) -> "Authority":
        """Return a new authority for localhost, these domains, and the loopback addresses."""
        key = new_key()
        name = _authority_name(key.public_key())
        begins = _now() - _CLOCK_DIFFERENCE
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = _builder(name, name, key.public_key(), begins, begins + _AUTHORITY_LIFETIME)
        builder = (
            builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_constraints(domains), critical=True)
        )
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def from_pem(cls, text: bytes) -> "Authority":
        """Return the authority of a key and a certificate in PEM format.

        Raise ValueError or TypeError if it is none.
        """
        try:
            key = load_pem_private_key(text, None)
            certificate = x509.load_pem_x509_certificate(text)
        except (ValueError, TypeError):
            # The words of the library differ between its versions.
            raise ValueError("it has no key with a certificate in PEM format") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("its key is not of an elliptic curve")
        if key.public_key() != certificate.public_key():
            raise ValueError("its key does not belong to its certificate")
        if not _is_authority(certificate):
            raise ValueError("its certificate is not that of an authority")
        return cls(key, certificate)

    def to_pem(self) -> bytes:
        """Return the key and the certificate in PEM format."""
        return key_to_pem(self._key) + self.certificate_pem()

    def certificate_pem(self) -> bytes:
        """Return the certificate in PEM format, for those who trust it."""
        return self.certificate.public_bytes(Encoding.PEM)

    def name(self) -> str:
        """Return the name in the certificate, which no other authority has."""
        [attribute] = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(attribute.value)

    def has_expired(self) -> bool:
        """Return whether its time is over."""
        return self.certificate.not_valid_after_utc < _now()

    def domains(self) -> list[str]:
        """Return the domains for which it can issue, each with all names below it."""
        try:
            extension = self.certificate.extensions.get_extension_for_class(x509.NameConstraints)
        except x509.ExtensionNotFound:
            return []
        permitted = extension.value.permitted_subtrees or ()
        return [str(entry.value) for entry in permitted if isinstance(entry, x509.DNSName)]

    def covers(self, domain: str) -> bool:
        """Return whether it can issue for a domain and all names below it."""
        return any(is_within(domain, permitted) for permitted in self.domains())

    def issue(
        self, key: ec.EllipticCurvePublicKey, names: Sequence[str], addresses: Sequence[IPAddress]
    ) -> Leaf:
        """Return a certificate of a server for names and addresses; check them before."""
        begins = max(_now() - _CLOCK_DIFFERENCE, self.certificate.not_valid_before_utc)
        ends = min(_now() + LEAF_LIFETIME, self.certificate.not_valid_after_utc)
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _PRODUCT)])
        alternatives = x509.SubjectAlternativeName(
            [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]
        )
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        certificate = (
            _builder(subject, self.certificate.subject, key, begins, ends)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(self._issuer, critical=False)
            .add_extension(alternatives, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Leaf(certificate.public_bytes(Encoding.PEM), ends.timestamp())


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key, which every client can verify."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key in PEM format, without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def is_within(name: str, domain: str) -> bool:
    """Return whether a name is a domain, or below it; both in lower case."""
    return name == domain or name.endswith(f".{domain}")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    """Return a certificate without what tells an authority from a leaf."""
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _authority_name(key: ec.EllipticCurvePublicKey) -> x509.Name:
    """Return a name of its own for each key, because stores tell authorities by their names."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key).digest[:_KEY_ID_SIZE].hex()
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _PRODUCT),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{_PRODUCT} authority {identifier}"),
        ]
    )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return basic.value.ca


def _constraints(domains: Iterable[str]) -> x509.NameConstraints:
    names = dict.fromkeys(["localhost", *domains])
    networks = map(ipaddress.ip_network, _LOOPBACK)
    return x509.NameConstraints(
        [*map(x509.DNSName, names), *map(x509.IPAddress, networks)], excluded_subtrees=None
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
