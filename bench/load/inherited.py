"""cmux-proxy whose workers share their sockets, as on systems that do not balance.

    python -m bench.load.inherited --workers 2 ...

Decision 0005 compares with it; `bench.load.workers` starts it.
"""

import sys

from cmux_proxy import cli
from cmux_proxy.server import binding

if __name__ == "__main__":
    # Private, because only this comparison needs workers with one socket on Linux.
    binding._BALANCES_REUSEPORT = False  # type: ignore[misc]
    sys.exit(cli.main())
