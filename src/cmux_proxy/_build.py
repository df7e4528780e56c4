"""Which version and which build is running."""

import importlib.util
import platform
from typing import Final

__version__: Final = "0.1.0"

_HOT_PATH: Final = importlib.util.find_spec("cmux_proxy.relay.exchange")
# Whether the modules of the hot path are extensions rather than Python source.
COMPILED: Final = _HOT_PATH is not None and not str(_HOT_PATH.origin).endswith(".py")


def build_name() -> str:
    """Return the build and the interpreter, as shown by --version and at start."""
    build = "compiled" if COMPILED else "pure Python"
    return f"{build} build, {platform.python_implementation()} {platform.python_version()}"
