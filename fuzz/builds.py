"""Both builds in one process: the pure sources, and the compiled package as it is installed.

Modules find each other in `sys.modules` while they are imported, and never again. So everything
is imported from `src`, taken out of there, and imported once more from where it is installed. Both
sets then live side by side, under the same names, without a name in common.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ROOT / "src"

_LOADED_TWICE: Final = ("cmux_proxy", "tests", "fuzz.parsers")

Targets = Mapping[str, Callable[[bytes], object]]


def both(watching: AbstractContextManager[Any]) -> tuple[Targets, Targets]:
    """Return the harnesses with the pure build, imported while `watching`, and the compiled one."""
    sys.path.insert(0, str(SOURCES))
    with watching:
        pure = _load(is_compiled=False)
    sys.path.remove(str(SOURCES))
    for name in [name for name in sys.modules if _is_ours(name)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return pure, _load(is_compiled=True)


def _load(is_compiled: bool) -> Targets:
    build = importlib.import_module("cmux_proxy._build")
    if build.COMPILED is not is_compiled:
        raise SystemExit(f"{build.__file__} is not the build that is wanted; see fuzz/README.md")
    targets: Targets = importlib.import_module("fuzz.parsers.table").TARGETS
    return targets


def _is_ours(name: str) -> bool:
    return any(name == one or name.startswith(one + ".") for one in _LOADED_TWICE)
