"""python -m cmux_proxy."""

import sys

from cmux_proxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
