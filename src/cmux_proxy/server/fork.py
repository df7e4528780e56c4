"""Forks a process that calls one function and exits. Does not know what the function does."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Final

_EXIT_FAILURE: Final = 1
_log = logging.getLogger("cmux_proxy")


def fork_process(work: Callable[[], None]) -> int:
    """Return the id of a new process that calls `work` and exits with 0, or with 1 if it raised.

    Raises OSError where the system cannot create a process.
    """
    _flush_streams()
    pid = os.fork()
    if pid:
        return pid
    status = _EXIT_FAILURE
    try:
        work()
        status = 0
    except BaseException:
        _log.exception("the worker has failed")
    finally:
        _flush_streams()
        # Exits without the parent's cleanup.
        os._exit(status)


def _flush_streams() -> None:
    """Write buffered output, so that two processes do not write it twice."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue  # there is no stream, it has no reader, or it is closed
