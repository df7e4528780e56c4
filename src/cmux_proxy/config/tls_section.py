"""The section of a configuration about TLS. Does not read the files that it names.

Neighbours: `sections.py` has the other sections, `net/tls_certificates.py` reads the files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, get_args

from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.validators import Choice, Entries, FileName
from cmux_proxy.config.values import file_path
from cmux_proxy.errors import ConfigError

PlainText = Literal["allow", "redirect", "refuse"]
TlsSource = Literal["files", "auto"]

_tls: Final = partial(option, group="TLS")
_FILES: Final = Entries("FILE", file_path)


# fmt: off
@dataclass(frozen=True, slots=True)
class Tls:
    """TLS on the listeners, beside plain text; without certificates there is none.

    `keys` belong to `certs` in the same order; without any, each certificate's file has its key.
    """

    source: TlsSource = _tls("files", Choice(get_args(TlsSource)), "tls",
        "Where certificates come from: files are those of --tls-cert, auto issues them for "
        "localhost and the domains of --host-suffix, with an authority that is made for this "
        "user; see the command trust.")
    certs: Sequence[str] = _tls((), _FILES, "tls-cert",
        "PEM file with a certificate and its chain: serve TLS on the same ports. With several, the "
        "server name of a client chooses, and the first is the default. SIGHUP and changes of the "
        "files read them again; repeatable.", default_text="none",
        example=["/etc/cmux-proxy/app.example.pem"])
    keys: Sequence[str] = _tls((), _FILES, "tls-key",
        "PEM file with the private key of the certificate at the same position; repeatable.",
        default_text="the file of the certificate", example=["/etc/cmux-proxy/app.example.key"])
    client_ca: str | None = _tls(None, FileName(), "tls-client-ca",
        "PEM file with authorities: every TLS client must have a certificate of one of them.",
        example="/etc/cmux-proxy/clients.pem")
    plain_text: PlainText = _tls("allow", Choice(get_args(PlainText)), "plain-text",
        "What plain HTTP gets beside TLS: allow serves it, redirect sends browsers to https:// "
        "and refuses everything else, refuse refuses all of it.")

    def __post_init__(self) -> None:
        read_settings(self, "tls.")

    def is_enabled(self) -> bool:
        """Return whether there is TLS."""
        return self.source == "auto" or len(self.certs) > 0

    def refuses_plain(self) -> bool:
        """Return whether plain HTTP is not served."""
        return self.plain_text != "allow"

    def requires_client_certificates(self) -> bool:
        """Return whether every client must have a certificate."""
        return self.client_ca is not None and self.refuses_plain()

    def files(self) -> list[str]:
        """Return all files that are read."""
        return [*self.certs, *self.keys, *([self.client_ca] if self.client_ca else [])]

    def check(self) -> None:
        """Raise ConfigError where settings need others, or contradict them."""
        if self.source == "auto" and (self.certs or self.keys):
            raise ConfigError("tls.source", "auto issues certificates; leave out --tls-cert")
        if self.keys and len(self.keys) != len(self.certs):
            count = f"{len(self.keys)} keys for {len(self.certs)} certificates"
            raise ConfigError("tls.keys", f"{count}; each certificate needs its own, in its order")
        for name, is_set in (("client_ca", self.client_ca), ("plain_text", self.refuses_plain())):
            if is_set and not self.is_enabled():
                raise ConfigError(
                    f"tls.{name}", "needs a certificate, with --tls-cert, or --tls auto"
                )
