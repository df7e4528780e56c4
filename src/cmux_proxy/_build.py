"""The version, and whether this is the compiled or the pure build."""

import importlib.util
import platform
from typing import Final

__version__: Final = "0.1.0"

_HOT_PATH: Final = importlib.util.find_spec("cmux_proxy.relay.exchange")
# Whether the modules of the hot path are C extensions.
COMPILED: Final = _HOT_PATH is not None and not str(_HOT_PATH.origin).endswith(".py")


def build_name() -> str:
    """Return the build and the interpreter, as --version and the log at start show them."""
    build = "compiled" if COMPILED else "pure Python"
    return f"{build} build, {platform.python_implementation()} {platform.python_version()}"
