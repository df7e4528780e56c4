"""python -m cmux_proxy, the command cmux-proxy: handles signals before the package is loaded."""

import gc
import os
import signal
import sys
from types import FrameType

# Objects between two garbage collections; the interpreter's default is 700.
COLLECTION_THRESHOLD = 10_000


def main() -> int:
    """Run the command line; return the exit status."""
    # Imports leave little garbage: looking for it often takes 4 % of the time until it listens.
    gc.set_threshold(COLLECTION_THRESHOLD)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    from cmux_proxy import cli

    return cli.main()


def end(number: int, _frame: FrameType | None) -> None:
    """End the process by a signal, like a process without a handler, and without a traceback."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # A signal without a handler does not end the first process of a container.
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
