"""Draws the README's chart from a result: python -m bench.load.chart [RESULT.json] [--output SVG].

CPU time of every proxy relative to HAProxy, the newer one if there are two, with a panel for each
workload. Bars that are too long are cut and marked. The picture follows the reader's light or dark
mode.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.load.programs import MARK, NEWER, OURS, PURE, RELAY

_ROOT = Path(__file__).parents[2]
RESULTS = _ROOT / "bench/results"
OUTPUT = _ROOT / "docs/assets/bench.svg"
_PANELS = {
    "get-browser-unique-c64": "a browser's requests, all different, 64 connections",
    "get-browser-c8": "the same request again and again, 8 connections",
    "get-100k-c64": "100 KB responses, 64 connections",
    "get-small-close-c64": "a connection for every request",
    "get-1g-c1": "1 GB download, one connection",
    "connect-pingpong-64b-c32": "64 bytes back and forth in 32 tunnels",
}
_NAMES = {OURS: "cmux-proxy", PURE: "cmux-proxy, pure", MARK: "HAProxy", "nginx": "nginx"}
_MARKS = (NEWER, MARK)
_NAMES |= {"haproxy-64k": "HAProxy, 64k buffers", "caddy": "Caddy", "traefik": "Traefik"}
_KINDS = {OURS: "ours", PURE: "pure"}
_UNITS = {"request": "µs", "MB": "µs/MB", "round trip": "µs"}
_LOAD = {"two": "the load on another", "same": "the load on the same"}
_COLUMNS = 2
_WIDTH, _MARGIN, _GAP = 880, 20, 20
_PANEL_WIDTH = (_WIDTH - 2 * _MARGIN - _GAP * (_COLUMNS - 1)) / _COLUMNS
_TOP, _ROW, _BAR, _PANEL_HEAD, _FOOT = 78, 21, 13, 44, 44
_LABELS, _VALUES = 140, 120  # what the names to the left and the figures to the right of a bar take
_MOST = 2.0  # where bars are cut
_STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 } .head { font-size: 13px; font-weight: 600 }
.faint { fill: #656d76 } .name { text-anchor: end }
.ours { fill: #0969da } .pure { fill: #80b3f0 } .other { fill: #afb8c1 } .mark { fill: #6e7781 }
.line { stroke: #6e7781; stroke-dasharray: 3 3 } .cut { stroke: #ffffff; stroke-width: 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .faint { fill: #9198a1 }
  .ours { fill: #4493f8 } .pure { fill: #2a5a9c } .other { fill: #4b535d } .mark { fill: #8b949e }
  .line { stroke: #8b949e } .cut { stroke: #0d1117 }
}"""


def draw(data: dict[str, Any], cores: str = "two") -> str:
    """Return the chart as SVG, of the cases on the same core or on two."""
    # Results of before the same core was measured do not name the cores.
    cases = {
        case["scenario"]["name"]: case
        for case in data["cases"]
        if case["scenario"].get("cores", cores) == cores
    }
    panels = [cases[name] for name in _PANELS if name in cases and _mark(cases[name])]
    for case in panels:
        case["proxies"].pop(RELAY, None)  # no proxy for these requests
    height = float(_TOP)
    body: list[str] = []
    for first in range(0, len(panels), _COLUMNS):
        line = panels[first : first + _COLUMNS]
        for column, case in enumerate(line):
            left = _MARGIN + column * (_PANEL_WIDTH + _GAP)
            body += _panel(case, data["versions"], left, height)
        height += _PANEL_HEAD + _ROW * max(len(case["proxies"]) for case in line) + _GAP
    frame = _frame(data, cores, height + _FOOT)
    return "\n".join([*frame, *body, *_foot(data, height), "</svg>", ""])


def _frame(data: dict[str, Any], cores: str, height: float) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" '
        f'width="{_WIDTH}" height="{height:g}" role="img">'
    )
    yield f"<title>CPU time of cmux-proxy and others</title><style>{_STYLE}\n</style>"
    yield _text("CPU time for the same work, relative to HAProxy", _MARGIN, 30, "title")
    rounds = data["method"]["rounds"]
    yield _text(
        f"less is better; medians of {rounds} rounds in which all take turns on one core, "
        f"{_LOAD[cores]}, loopback, user and system time",
        _MARGIN, 50, "faint",
    )  # fmt: skip


def _mark(case: dict[str, Any]) -> str | None:
    """Return the proxy with which the others of a case are compared."""
    return next((name for name in _MARKS if name in case["proxies"]), None)


def _label(proxy: str, versions: dict[str, str]) -> str:
    """Return the name of a proxy; with its version if there may be two of it."""
    version = re.search(r"version (\d+\.\d+)", versions.get(proxy, ""))
    if proxy in _MARKS and version:
        return f"HAProxy {version[1]}"
    return _NAMES.get(proxy, proxy)


def _panel(
    case: dict[str, Any], versions: dict[str, str], left: float, top: float
) -> Iterator[str]:
    name, mark_name = case["scenario"]["name"], _mark(case)
    yield _text(_PANELS[name], left, top + 14, "head")
    yield _text(name, left, top + 30, "faint")
    start, most = left + _LABELS, _PANEL_WIDTH - _LABELS - _VALUES
    rows = top + _PANEL_HEAD
    for row, (proxy, found) in enumerate(case["proxies"].items()):
        ratio = found[f"ratios_to_{mark_name}"].get("cpu_us", {"median": 1.0})["median"]
        cpu = found["figures"]["cpu_us"]["median"]
        kind = "mark" if proxy == mark_name else _KINDS.get(proxy, "other")
        yield _text(_label(proxy, versions), start - 8, rows + row * _ROW + 11, "name")
        yield from _bar(kind, ratio, start, rows + row * _ROW, most)
        value = f"{ratio:.2f} ({cpu:,.{0 if cpu >= 100 else 1}f} {_UNITS[case['unit']]})"
        yield _text(value, start + most + 8, rows + row * _ROW + 11, "")
    mark, bottom = start + most / _MOST, rows + len(case["proxies"]) * _ROW
    yield f'<path class="line" d="M{mark:.1f} {rows - 4:g}V{bottom - 4:g}"/>'


def _bar(kind: str, ratio: float, start: float, top: float, most: float) -> Iterator[str]:
    length = min(ratio, _MOST) / _MOST * most
    yield (
        f'<rect class="{kind}" x="{start:.1f}" y="{top:g}" '
        f'width="{length:.1f}" height="{_BAR}" rx="2"/>'
    )
    if ratio > _MOST:
        yield f'<path class="cut" d="M{start + most - 16:.1f} {top + _BAR + 2:g}l8 -{_BAR + 4}"/>'


def _foot(data: dict[str, Any], height: float) -> Iterator[str]:
    versions = data["versions"]
    commit = data["commit"]["hash"][:7]
    words = next((versions[name] for name in _MARKS if name in versions), "").split()
    yield _text(
        f"{data['date'][:10]}, commit {commit}; {' '.join(words[:3])}; {data['machine']['cpu']}, "
        f"Linux {data['machine']['kernel'].partition('-')[0]}",
        _MARGIN, height + 6, "faint",
    )  # fmt: skip
    yield _text(
        "Bars are cut at twice HAProxy's. In tunnels others have a fixed upstream and no CONNECT.",
        _MARGIN, height + 24, "faint",
    )  # fmt: skip


def _text(text: str, x: float, y: float, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def main() -> int:
    """Draw the newest result, or the given one."""
    parser = argparse.ArgumentParser(prog="chart", description=__doc__.partition("\n")[0])
    parser.add_argument("result", nargs="?", type=Path, help="a JSON of bench/results")
    parser.add_argument("--cores", choices=_LOAD, default="two", help="where the load runs")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="path of the SVG")
    options = parser.parse_args()
    source = options.result or max(RESULTS.glob("*.json"), default=None)
    if source is None:
        print("chart: no result yet; make bench-full makes one", file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    data = json.loads(source.read_text(encoding="utf-8"))
    options.output.write_text(draw(data, options.cores), encoding="utf-8")
    print(f"{options.output} of {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
