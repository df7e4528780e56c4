"""Certificates of a local authority, for `--tls auto`: issued when a client asks for a name.

The authority is read again on SIGHUP, and when its file has changed; if it cannot be used, the old
one stays and a warning is logged. Neighbours: `authority_file.py` has the authority,
`net/tls_leaves.py` the contexts, `tls_reload.py` the certificates of files.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.values import plain_address
from cmux_proxy.errors import CertificateError
from cmux_proxy.net.tls_authority import Authority
from cmux_proxy.net.tls_certificates import Authorities
from cmux_proxy.net.tls_contexts import TlsServer, configure_context
from cmux_proxy.net.tls_leaves import LeafContext, LeafTable
from cmux_proxy.server.authority_file import AuthorityFile, state_directory
from cmux_proxy.server.file_watch import FileWatch
from cmux_proxy.server.tls_reload import HTTP1_PROTOCOLS, PROTOCOLS, log_failed_reload

_log = logging.getLogger("cmux_proxy")


class LocalCertificates:
    """The authority of this user, and the servers that use it; raises CertificateError.

    `now` returns seconds since 1970.
    """

    def __init__(self, config: Config, now: Callable[[], float] = time.time) -> None:
        self._config = config
        self._now = now
        self._file = AuthorityFile(state_directory())
        authority, is_new = self._file.load_or_make(config.routing.host_suffixes)
        if is_new:
            _log.info("new authority in %s; to trust it: cmux-proxy trust", self._file.path)
        self._watch = FileWatch([self._file.path, *config.tls.files()])
        self._tables = self._tables_of(authority)
        defaults = _defaults_of(self._tables)
        self._renew_at = min(default.renew_at for default in defaults)
        self.server, self.http1_server = (TlsServer(default.context) for default in defaults)

    def reload(self) -> None:
        """Read the authority, and the authorities of clients, again."""
        self._watch.mark_read()
        try:
            authority = self._file.load(self._config.routing.host_suffixes)
            self._renew(self._tables_of(authority))
        except CertificateError as error:
            log_failed_reload(error)
            return
        _log.info("authority reloaded: %s", authority.name())

    def check(self, now: float) -> None:
        """Read the files again if they have changed; renew the default certificates in time."""
        if not self._watch.is_due(now):
            return
        if self._watch.have_changed():
            self.reload()
        elif self._renew_at <= self._now():
            try:
                self._renew(self._tables)
            except CertificateError as error:
                log_failed_reload(error)

    def _tables_of(self, authority: Authority) -> list[LeafTable]:
        """Return the certificates of an authority, for each list of protocols."""
        path = self._config.tls.client_ca
        clients = None if path is None else Authorities(path, "tls.client_ca")
        hosts = [address.host for address in self._config.addresses() if address.host]
        addresses = [str(host) for host in map(plain_address, hosts) if host.is_loopback]

        def table_for(protocols: Sequence[str]) -> LeafTable:
            configure = partial(configure_context, protocols=protocols, clients=clients)
            domains = self._config.routing.host_suffixes
            return LeafTable(authority, domains, configure, addresses, self._now)

        return [table_for(PROTOCOLS), table_for(HTTP1_PROTOCOLS)]

    def _renew(self, tables: list[LeafTable]) -> None:
        """Serve with these tables, and with new default certificates; raise CertificateError."""
        defaults = _defaults_of(tables)
        self._tables = tables
        self._renew_at = min(default.renew_at for default in defaults)
        servers = (self.server, self.http1_server)
        for server, default in zip(servers, defaults, strict=True):
            server.context = default.context


def _defaults_of(tables: list[LeafTable]) -> list[LeafContext]:
    try:
        return [table.make_default() for table in tables]
    except OSError as error:
        reason = f"cannot make a certificate: {error.strerror}"
        raise CertificateError("tls.source", reason) from None
