"""The file of the access log: how it is checked at the start, opened, and opened again.

Does not know lines or threads: `access_log_writer.py` writes to the descriptor.
"""

import errno
import os
import stat
from typing import Final

from cmux_proxy.config.sections import Observability
from cmux_proxy.errors import ConfigError

# This name of a file means standard output.
STANDARD_OUTPUT: Final = "-"


def has_file(observability: Observability) -> bool:
    """Return whether a file is configured, which SIGHUP opens again, even if the log is off."""
    return (
        observability.access_log_file is not None
        and observability.access_log_file != STANDARD_OUTPUT
    )


def check_file(observability: Observability) -> None:
    """Raise ConfigError where the log is on and its file cannot be opened."""
    path = observability.access_log_file
    if path is not None and has_file(observability) and observability.access_log != "off":
        try:
            os.close(open_file(path))
        except OSError as error:
            reason = f"{path} cannot be opened: {error.strerror}"
            if error.errno == errno.ENXIO:
                # A socket, such as the standard output of a service under systemd.
                reason += "; it is a socket: use - for standard output"
            raise ConfigError("observability.access_log_file", reason) from None


def open_file(path: str) -> int:
    """Return a descriptor that appends to a path; does not wait for the reader of a named pipe.

    Raises OSError.
    """
    # A pipe that is open for reading too needs no other reader, and readers may come and go.
    access = os.O_RDWR if _is_pipe(path) else os.O_WRONLY
    return os.open(path, access | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
