"""`route` takes a constant number of steps for long values, and each step is one pass at most.

Steps are instructions of Python code. A step that calls into C may read a value once, as `lower`
and `rpartition` do. A pattern may read it more than once, so patterns are checked separately.
"""

import re
import re._parser as parser  # type: ignore[import-not-found]
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

import pytest

from cmux_proxy import _build
from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.router import Router

pytestmark = pytest.mark.skipif(_build.COMPILED, reason="counts the steps of the pure build")

PORT: Final = b"x-cmux-port-internal"
WORKSPACE: Final = b"x-cmux-workspace-internal"
SMALL: Final = 1024
LARGE: Final = 64 * 1024
# The longest text that a pattern may match, in bytes or characters.
WIDTH: Final = 64

Fields = tuple[tuple[bytes, bytes], ...]

VALUES: Final[dict[str, Callable[[int], bytes]]] = {
    "digits and a letter": lambda size: b"1" * (size - 1) + b"a",
    "digits": lambda size: b"1" * size,
    "zeros": lambda size: b"0" * size,
    "letters": lambda size: b"a" * size,
    "letters and a digit": lambda size: b"a" * (size - 1) + b"1",
    "dashes": lambda size: b"-" * size,
    "dots": lambda size: b"." * size,
    "a letter and dashes": lambda size: b"a-" * (size // 2),
    "a path": lambda size: b"a/" * (size // 2) + b"w",
    "slashes": lambda size: b"/" * size,
    "bytes above ASCII": lambda size: b"\xff" * size,
    "suffixes": lambda size: b".localhost" * (size // 10),
    "colons": lambda size: b":" * size,
}
SOURCES: Final[dict[str, Callable[[bytes], tuple[bytes | None, Fields]]]] = {
    "port": lambda value: (b"a", ((PORT, value),)),
    "workspace": lambda value: (b"a", ((PORT, b"80"), (WORKSPACE, value))),
    "host": lambda value: (value, ((PORT, b"80"),)),
    "host below a suffix": lambda value: (value + b".localhost", ()),
    "port in the host": lambda value: (b"w-" + value + b".localhost", ()),
    "workspace in the host": lambda value: (value + b"-80.localhost", ()),
    "port of the host": lambda value: (b"80.localhost:" + value, ()),
    "workspace beside a host": lambda value: (b"w-80.localhost", ((WORKSPACE, value),)),
    "port beside a host": lambda value: (b"w-80.localhost", ((PORT, value),)),
    "another field": lambda value: (b"80.localhost", ((b"x-cmux-wait", value),)),
}


class FullMatchOnly:
    """A pattern that matches short texts only, and can only be used with `fullmatch`."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        assert parser.parse(pattern.pattern).getwidth()[1] <= WIDTH, pattern.pattern
        self.fullmatch = pattern.fullmatch


@pytest.fixture(autouse=True)
def _patterns_with_fullmatch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("cmux_proxy.routing"):
            for key, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    monkeypatch.setattr(module, key, FullMatchOnly(value))


@contextmanager
def traced(trace: Any) -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def steps(router: Router, host: bytes | None, fields: Fields) -> int:
    """Return how many instructions it takes to route, or to refuse."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    with traced(trace), suppress(RouteRefused):
        router.route(b"GET", host, fields)
    return count


@pytest.mark.parametrize("template", [None, "w-{workspace}", "{workspace}.example"])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_longer_value_takes_no_more_steps(
    value: Callable[[int], bytes],
    source: Callable[[bytes], tuple[bytes | None, Fields]],
    template: str | None,
) -> None:
    counts = [
        steps(Router("h", template, ["localhost", "dev.example"]), *source(value(size)))
        for size in (SMALL, LARGE)
    ]
    assert 0 < counts[1] <= counts[0] + 50


def test_the_longest_workspace_takes_few_steps() -> None:
    router = Router("h", None, ["localhost"])
    assert steps(router, b"a", ((PORT, b"80"), (WORKSPACE, b"a" * 255))) < 255 * 40
