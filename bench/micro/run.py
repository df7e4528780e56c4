"""Times single steps of the hot path: python -m bench.micro.run [PATTERN].

Prints the minimum and the median of the nanoseconds over many short runs. The minimum is the cost
of the code; the median shows how quiet the machine was. "repeated" is one head for all repeats;
"unique" are heads that all differ in the value of one field.
"""

import argparse

from bench.micro import bodies, heads, http2
from bench.micro.timing import show


def main() -> None:
    """Time every case whose name contains the pattern."""
    parser = argparse.ArgumentParser(prog="micro", description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", nargs="?", default="", help="only names that contain this")
    pattern = parser.parse_args().pattern
    cases = heads.cases() | bodies.cases() | http2.cases()
    show({name: prepare for name, prepare in cases.items() if pattern in name})


if __name__ == "__main__":
    main()
