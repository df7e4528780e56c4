"""The proxy that a harness fuzzes: its build and its event loop, as options of the command line."""

import argparse
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from fuzz import sanitized
from fuzz.network.watch import Watch
from tests.helpers.loops import FACTORIES
from tests.helpers.proxies import proxy_process

PURE: Final = "pure"
COMPILED: Final = "compiled"
ASAN: Final = "asan"
_SOURCES: Final = sanitized.ROOT / "src"
# How much more memory than at its start a proxy may use: that of an interpreter varies a little.
_MAX_GROWTH: Final = 16 << 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let the user choose the build and the event loop."""
    parser.add_argument("--loop", choices=FACTORIES, default="uvloop")
    parser.add_argument("--build", choices=(PURE, COMPILED, ASAN), default=COMPILED)


@contextlib.asynccontextmanager
async def watched_proxy(options: argparse.Namespace, *flags: str) -> AsyncIterator[Watch]:
    """Run that proxy; it must be of the build that was asked for."""
    variables = {PURE: {"PYTHONPATH": str(_SOURCES)}, COMPILED: {}, ASAN: sanitized.variables()}
    async with proxy_process(options.loop, *flags, variables=variables[options.build]) as proxy:
        is_asan = options.build == ASAN
        name = COMPILED if is_asan else options.build
        if name not in proxy.announced[-1].lower() or sanitized.is_used_by(proxy.pid) != is_asan:
            raise SystemExit(f"not the {options.build} build: {proxy.announced[-1]}")
        yield Watch(proxy, _MAX_GROWTH + (sanitized.QUARANTINE if is_asan else 0))
