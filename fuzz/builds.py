"""Both builds in one process: the pure sources, and the compiled package as it is installed.

Modules look each other up in `sys.modules` only while they are imported. So all modules are
imported from `src`, removed from `sys.modules`, and imported again from the installed package. Both
sets exist at the same time, with the same names, and do not use each other.
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


def load_both(instrumentation: AbstractContextManager[Any]) -> tuple[Targets, Targets]:
    """Return the harnesses of the pure build, which is instrumented, and of the compiled one."""
    sys.path.insert(0, str(SOURCES))
    with instrumentation:
        pure = _load(is_compiled=False)
    sys.path.remove(str(SOURCES))
    for name in [name for name in sys.modules if _is_loaded_twice(name)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return pure, _load(is_compiled=True)


def _load(is_compiled: bool) -> Targets:
    build = importlib.import_module("cmux_proxy._build")
    if build.COMPILED is not is_compiled:
        raise SystemExit(f"{build.__file__} is not the expected build; see fuzz/README.md")
    targets: Targets = importlib.import_module("fuzz.parsers.table").TARGETS
    return targets


def _is_loaded_twice(name: str) -> bool:
    return any(name == root or name.startswith(root + ".") for root in _LOADED_TWICE)
