"""The C that Cython makes of what runs for each event: no numbers that are Python objects.

`x & 0xffffffff`, with a C number, is one of Python's in Cython: 480 instructions in place of one.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

Build = pytest.importorskip("Cython.Build")

SOURCES: Final = Path(__file__).parents[2] / "src"
pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="the sources are not here")
# By module; all of them run for each event, message or turn.
HOT: Final[Mapping[str, tuple[str, ...]]] = {
    "_busy_polling": ("BusyPolling.wait", "BusyPolling._poll"),
    "_native_stream": ("NativeStream.on_events", "NativeStream.on_turn"),
    "_reactor": ("Reactor.run_batch", "Reactor._dispatch_events", "Reactor._call_list"),
    "_send_queue": ("SendQueue.add", "SendQueue.flush"),
    "_stream_reading": ("read", "_read_bytes", "_read_into_buffer"),
    "_stream_sending": ("send_bytes", "send_parts", "flush"),
    "_turns": ("Turns._wait", "Turns._has_work"),
}
ARITHMETIC: Final = re.compile(
    r"PyNumber_(?:InPlace)?(?:Add|And|Invert|Lshift|Multiply|Negative|Or|Remainder|Rshift|Subtract|"
    r"Xor)\w*|__Pyx_Py(?:Int|Long)_\w+(?:ObjC|CObj)\w*"
)


def generated(module: str, folder: Path, source: str | None = None) -> str:
    """Return the C of a module of `net`, or of another text in its place."""
    sources = folder / "src"
    shutil.copytree(
        SOURCES / "cmux_proxy" / "net",
        sources / "cmux_proxy" / "net",
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    (sources / "cmux_proxy" / "__init__.py").touch()
    path = sources / "cmux_proxy" / "net" / f"{module}.pyx"
    if source is not None:
        path.write_text(source, encoding="utf-8")
    Build.cythonize([str(path)], include_path=[str(sources)], quiet=True)
    return path.with_suffix(".c").read_text(encoding="utf-8")


def function(code: str, module: str, name: str) -> str:
    """Return a C function of a module, or a method of a class there, from the generated code."""
    owner, _, method = name.rpartition(".")
    path = ["cmux_proxy", "net", module, *([owner] if owner else [])]
    mangled = "".join(f"{len(part)}{part}_" for part in path) + method
    pattern = rf"^static [^;\n]*__pyx_f_{re.escape(mangled)}\([^;\n]*\{{\n.*?^\}}\n"
    found = re.search(pattern, code, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[0]


def calculated_in_python(code: str, module: str) -> list[tuple[str, str]]:
    """Return the functions that calculate with objects, and what they call for it."""
    return [
        (name, call)
        for name in HOT[module]
        for call in ARITHMETIC.findall(function(code, module, name))
    ]


@pytest.mark.parametrize("module", HOT)
def test_what_runs_for_each_event_calculates_in_c(module: str, tmp_path: Path) -> None:
    assert calculated_in_python(generated(module, tmp_path), module) == []


@pytest.mark.parametrize(
    ("module", "fast", "slow"),
    [
        ("_reactor", "fd = <int><uint32_t>data", "fd = data & 0xffffffff"),
        ("_reactor", "<uint32_t>(data >> 32)", "(data >> 32 & 0xffffffff)"),
    ],
)
def test_a_mask_that_is_an_object_is_found(
    module: str, fast: str, slow: str, tmp_path: Path
) -> None:
    source = (SOURCES / f"cmux_proxy/net/{module}.pyx").read_text(encoding="utf-8")
    assert fast in source
    code = generated(module, tmp_path, source.replace(fast, slow))
    assert calculated_in_python(code, module) != []
