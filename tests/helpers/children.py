"""Forked processes that do one piece of work."""

import os
import traceback
from collections.abc import Callable


def in_a_process(work: Callable[[], bool]) -> int:
    """Run `work` in a child process, whose status says whether it returned True; return its id."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if work() else 1
        except Exception:
            traceback.print_exc()
        finally:
            # Otherwise the child would run the tests that follow.
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    """Wait for the end of a child process; return its status."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
