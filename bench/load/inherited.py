"""cmux-proxy whose workers all have the same sockets, as it is where the system does not balance.

    python -m bench.load.inherited --workers 2 ...

What decision 0005 compares with; `bench.load.workers` starts it.
"""

import sys

from cmux_proxy import cli
from cmux_proxy.server import binding

if __name__ == "__main__":
    binding._BALANCES_REUSEPORT = False  # type: ignore[misc]
    sys.exit(cli.main())
