"""Plays programs one after the other: python -m fuzz.churn LOOP SEED FIRST SECONDS BUILD.

Writes the number of each program before it begins, so that the one that crashes is known; ends with
the first failure. `fuzz/descriptors.py` starts this, with AddressSanitizer; the build then has to
be the one that was compiled for it.
"""

import faulthandler
import os
import sys
import time
from typing import Final

from fuzz import sanitized
from fuzz.churn.program import play
from tests.helpers.loops import run
from tests.helpers.timing import SOON

# After so many seconds, a program hangs.
_PATIENCE: Final = 3 * SOON


def main() -> None:
    """Play programs until the time is over, at least one."""
    loop, seed, first, seconds, build = sys.argv[1:]
    if build == "asan" and not sanitized.is_used_by(os.getpid()):
        sys.exit("the package is not the one with AddressSanitizer; see fuzz/README.md")
    number = int(first)
    faulthandler.enable()
    end = time.monotonic() + float(seconds)
    while True:
        print(f"program {number}", flush=True)
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        problems = _play(f"{seed} {number}", loop)
        if problems:
            sys.exit(problems)
        number += 1
        if time.monotonic() >= end:
            return


def _play(name: str, loop: str) -> str:
    """Return what is wrong with a program, or an empty text."""
    try:
        problems = run(play(name), loop)
    except AssertionError as error:
        return str(error)
    return "\n".join(problems)


if __name__ == "__main__":
    main()
