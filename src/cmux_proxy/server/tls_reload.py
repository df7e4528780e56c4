"""Reads certificates again: on SIGHUP, and when their files have changed and stay as they are.

If they cannot be used, the old ones stay and a warning is logged. Open connections keep theirs.
The ticker calls it, so that no thread is needed.
"""

import logging
import os
from typing import Final

from cmux_proxy.config.tls_section import Tls
from cmux_proxy.errors import CertificateError
from cmux_proxy.net.tls_contexts import TlsServer, load_server_context

_log = logging.getLogger("cmux_proxy")

# Seconds between two looks at the files.
CHECK_INTERVAL: Final = 5.0
# By ALPN: what the proxy offers, and what a listener does that is served by aiohttp.
_PROTOCOLS: Final = ("h2", "http/1.1")
_HTTP1_PROTOCOLS: Final = ("http/1.1",)

# What changes with the contents of a file, also of one that a link leads to.
_State = tuple[int, int, int, int] | None


class CertificateFiles:
    """The files of a configuration, and the servers that use them; raises CertificateError.

    `server` is the proxy's, `http1_server` that of a listener without HTTP/2.
    """

    def __init__(self, config: Tls) -> None:
        self._config = config
        self._read = self._seen = self._states()
        self._next_check = 0.0
        self.server = TlsServer(load_server_context(config, _PROTOCOLS))
        self.http1_server = TlsServer(load_server_context(config, _HTTP1_PROTOCOLS))

    def reload(self) -> None:
        """Read the files again."""
        self._read = self._seen = self._states()
        try:
            context = load_server_context(self._config, _PROTOCOLS)
            self.http1_server.context = load_server_context(self._config, _HTTP1_PROTOCOLS)
        except CertificateError as error:
            line = "cannot reload the certificates, the old ones stay in use: %s"
            _log.warning(line, error.reason)
            return
        self.server.context = context
        _log.info("certificates reloaded: %d", len(self._config.certs))

    def check(self, now: float) -> None:
        """Read the files again if they have changed, and not since the last check.

        A certificate and its key are written one after the other.
        """
        if now < self._next_check:
            return
        self._next_check = now + CHECK_INTERVAL
        states = self._states()
        if states != self._read and states == self._seen:
            self.reload()
        self._seen = states

    def _states(self) -> list[_State]:
        return [_state_of(path) for path in self._config.files()]


def _state_of(path: str) -> _State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
