"""The version, whether this is the compiled or the pure build, and which event loop suits it."""

import importlib.util
import platform
import sys
from typing import Final

__version__: Final = "0.1.0"

_HOT_PATH: Final = importlib.util.find_spec("cmux_proxy.relay.exchange")
# Whether the modules of the hot path are C extensions.
COMPILED: Final = _HOT_PATH is not None and not str(_HOT_PATH.origin).endswith(".py")
# Whether the build has native connections; they need Linux's epoll.
HAS_NATIVE: Final = (
    sys.platform == "linux" and importlib.util.find_spec("cmux_proxy.net._reactor") is not None
)

NATIVE: Final = "native"
UVLOOP: Final = "uvloop"
ASYNCIO: Final = "asyncio"


def has_uvloop() -> bool:
    """Return whether uvloop is installed."""
    return importlib.util.find_spec("uvloop") is not None


def best_loop(wants_native: bool = True) -> str:
    """Return the name of the fastest event loop that is there."""
    if wants_native and HAS_NATIVE:
        return NATIVE
    return UVLOOP if has_uvloop() else ASYNCIO


def build_name() -> str:
    """Return the build and the interpreter, as --version and the log at start show them."""
    build = "compiled" if COMPILED else "pure Python"
    return f"{build} build, {platform.python_implementation()} {platform.python_version()}"
