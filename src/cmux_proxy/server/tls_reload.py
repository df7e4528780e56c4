"""Reads certificates again: on SIGHUP, and when their files have changed and stay as they are.

If they cannot be used, the old ones stay and a warning is logged. Open connections keep theirs.
Neighbours: `file_watch.py` looks at the files, `tls_local.py` has the certificates of an authority.
"""

import logging
from typing import Final, Protocol

from cmux_proxy.config.tls_section import Tls
from cmux_proxy.errors import CertificateError
from cmux_proxy.net.tls_contexts import TlsServer, load_server_context
from cmux_proxy.server.file_watch import FileWatch

_log = logging.getLogger("cmux_proxy")

# By ALPN: what the proxy offers, and what a listener does that is served by aiohttp.
PROTOCOLS: Final = ("h2", "http/1.1")
HTTP1_PROTOCOLS: Final = ("http/1.1",)


class Certificates(Protocol):
    """The certificates of a configuration: of files, or of a local authority.

    `server` is the proxy's, `http1_server` that of a listener without HTTP/2.
    """

    @property
    def server(self) -> TlsServer:
        """What the proxy opens sessions with."""

    @property
    def http1_server(self) -> TlsServer:
        """What a listener without HTTP/2 opens sessions with."""

    def reload(self) -> None:
        """Read the files again."""

    def check(self, now: float) -> None:
        """Read the files again if they have changed; `now` is the time of a ticker in seconds."""


class CertificateFiles:
    """The files of a configuration, and the servers that use them; raises CertificateError."""

    def __init__(self, config: Tls) -> None:
        self._config = config
        self._watch = FileWatch(config.files())
        self.server = TlsServer(load_server_context(config, PROTOCOLS))
        self.http1_server = TlsServer(load_server_context(config, HTTP1_PROTOCOLS))

    def reload(self) -> None:
        """Read the files again."""
        self._watch.mark_read()
        try:
            context = load_server_context(self._config, PROTOCOLS)
            self.http1_server.context = load_server_context(self._config, HTTP1_PROTOCOLS)
        except CertificateError as error:
            log_failed_reload(error)
            return
        self.server.context = context
        _log.info("certificates reloaded: %d", len(self._config.certs))

    def check(self, now: float) -> None:
        """Read the files again if they have changed, and not since the last check."""
        if self._watch.is_due(now) and self._watch.have_changed():
            self.reload()


def log_failed_reload(error: CertificateError) -> None:
    """Warn that the old certificates are still used."""
    _log.warning("cannot reload the certificates, the old ones stay in use: %s", error.reason)
