"""Reload on SIGHUP: opens the access log's file again, and reads tokens and certificates again.

If a file cannot be read, the old state stays and a warning is logged.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.sections import Access
from cmux_proxy.config.token_file import read_tokens
from cmux_proxy.errors import ConfigError
from cmux_proxy.server.access_log_file import has_file
from cmux_proxy.server.access_log_writer import AccessLogWriter
from cmux_proxy.server.optional_packages import require_packages

if TYPE_CHECKING:
    from cmux_proxy.server.tls_reload import Certificates

_log = logging.getLogger("cmux_proxy")

# Replaces the tokens.
ReplaceTokens = Callable[[Sequence[str]], None]


def load_certificates(config: Config) -> "Certificates | None":
    """Return the certificates of a configuration; None, without loading OpenSSL, for none.

    Raises CertificateError, and ConfigError where settings contradict each other, or the packages
    of an extra are missing.
    """
    config.tls.check()
    if not config.tls.is_enabled():
        return None
    # What the first handshake needs is loaded at the start too.
    import cmux_proxy.downstream.tls_connection  # noqa: F401

    if config.tls.source == "auto":
        require_packages("tls.source", "tls", ("cryptography",))
        from cmux_proxy.server.tls_local import LocalCertificates

        return LocalCertificates(config)
    from cmux_proxy.server.tls_reload import CertificateFiles

    return CertificateFiles(config.tls)


def can_reload(config: Config) -> bool:
    """Return whether a file is configured that can be reloaded; without one, SIGHUP drains.

    The authority of --tls auto is none: a proxy on a terminal shall end with it.
    """
    has_tokens = config.access.auth_token_file is not None
    return has_file(config.observability) or has_tokens or len(config.tls.files()) > 0


def reload(
    config: Config,
    log: AccessLogWriter | None,
    subscribers: Sequence[ReplaceTokens],
    reload_certificates: Callable[[], None] | None = None,
) -> None:
    """Open the access log's file again, and pass the tokens of their file to all subscribers.

    A process without certificates has no `reload_certificates`.
    """
    if log is not None:
        log.reopen()
    if reload_certificates is not None:
        reload_certificates()
    path = config.access.auth_token_file
    if path is None:
        return
    try:
        tokens = _read_tokens(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _log.warning("cannot reload the tokens, the old ones stay valid: %s: %s", path, reason)
        return
    for replace_tokens in subscribers:
        replace_tokens(tokens)
    _log.info("tokens reloaded: %d", len(tokens))


def _read_tokens(path: str) -> Sequence[str]:
    if not os.path.isfile(path):
        # A pipe was read at the start; reading it again could block.
        os.stat(path)
        raise ValueError("it is not a regular file")
    try:
        return Access(tokens=read_tokens(path)).tokens
    except ConfigError as error:
        raise ValueError(error.reason) from None
