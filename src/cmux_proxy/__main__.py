"""python -m cmux_proxy, and the command cmux-proxy: handles signals first, then loads the rest."""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the command line; return the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    from cmux_proxy import cli

    return cli.main()


def end(number: int, _frame: FrameType | None) -> None:
    """End the process by a signal, as a process without a handler does, and without a traceback."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # The first process of a container is not ended by a signal that it has no handler for.
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
