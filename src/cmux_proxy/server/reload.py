"""What a process reads again at a hang-up: the file of the access log, and that of the tokens.

What cannot be read leaves what was there before, and a line in the log.
"""

import logging
import os
from collections.abc import Callable, Sequence

from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.sections import Access
from cmux_proxy.config.token_file import read_tokens
from cmux_proxy.errors import ConfigError
from cmux_proxy.server.access_log_writer import LogWriter, has_file

_log = logging.getLogger("cmux_proxy")

# Takes tokens in the place of those before.
TakeTokens = Callable[[Sequence[str]], None]


def can_reload(config: Config) -> bool:
    """Return whether there is something to read again; where there is not, a hang-up drains."""
    return has_file(config.observability) or config.access.token_file is not None


def reload(config: Config, log: LogWriter | None, takers: Sequence[TakeTokens]) -> None:
    """Open the file of the access log again, and give the tokens of their file to `takers`."""
    if log is not None:
        log.reopen()
    path = config.access.token_file
    if path is None:
        return
    try:
        tokens = _tokens_of(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _log.warning("the tokens cannot be read again, and stay as they were: %s: %s", path, reason)
        return
    for take in takers:
        take(tokens)
    _log.info("tokens read again: %d", len(tokens))


def _tokens_of(path: str) -> Sequence[str]:
    if not os.path.isfile(path):
        # What a pipe had to say was said at the start, and nobody may wait for more.
        os.stat(path)
        raise ValueError("it is no regular file")
    try:
        return Access(tokens=read_tokens(path)).tokens
    except ConfigError as error:
        raise ValueError(error.reason) from None
