"""Which version and which build is running."""

import platform
from typing import Final

__version__: Final = "0.1.0"

# The modules of the hot path exist in one build so far.
COMPILED: Final = False


def build_name() -> str:
    """Return the build and the interpreter, as shown by --version and at start."""
    build = "compiled" if COMPILED else "pure Python"
    return f"{build} build, {platform.python_implementation()} {platform.python_version()}"
