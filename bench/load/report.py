"""Turns cases into tables: one for each kind of scenario, with a row for each proxy."""

from collections.abc import Callable, Iterator, Sequence

from bench.load.cases import Case
from bench.load.programs import MARK, NEWER, RELAY, UNOBSERVED
from bench.load.scenarios import UNITS, Kind

_LEFT_ALIGNED = 3
_WHOLE_CORE = 0.9
_STARVED = (
    "* had less than 90 % of its core in some round, because of other programs or the load;\n"
    "  compare CPU time, not rates"
)
_RATIO = f"to {MARK}"
Cell = Callable[[Case, str], str]


def _median(figure: str, form: str) -> Cell:
    def cell(case: Case, name: str) -> str:
        spread = case.spread(name, figure)
        return format(spread.median, form) if spread else ""

    return cell


def _ratio(figure: str, to: str = MARK, form: str = ".2f") -> Cell:
    def cell(case: Case, name: str) -> str:
        ratio = case.ratio(name, figure, to)
        return ratio.text(form) if ratio and name != to else ""

    return cell


def _core(case: Case, name: str) -> str:
    return _median("core", ".0%")(case, name) + ("*" if is_starved(case, name) else "")


def is_starved(case: Case, name: str) -> bool:
    """Return whether the proxy was not the bottleneck in some round."""
    core = case.spread(name, "core") if case.scenario.cores == "two" else None
    return core is not None and core.least < _WHOLE_CORE


def _load_columns(unit: str, rate: str) -> dict[str, Cell]:
    return {
        rate: _median("per_second", ",.0f"),
        f"{rate} {_RATIO}": _ratio("per_second"),
        f"CPU us/{unit}": _median("cpu_us", ".1f"),
        **{f"CPU to {mark}": _ratio("cpu_us", mark) for mark in (MARK, NEWER, RELAY)},
        "user": _median("user_us", ".1f"),
        "system": _median("system_us", ".1f"),
        f"sleeps/{unit}": _median("sleeps", ".3f"),
    }


_LATENCY: dict[str, Cell] = {
    "p50 ms": _median("p50_ms", ".3f"),
    "p99 ms": _median("p99_ms", ".3f"),
    f"p99 {_RATIO}": _ratio("p99_ms"),
}
_END: dict[str, Cell] = {
    "logged": _median("logged", ".1%"),
    "core": _core,
    "waited": _median("waited", ".0%"),
    "RSS MB": _median("rss_mb", ".1f"),
}
COLUMNS: dict[Kind, dict[str, Cell]] = {
    "requests": _load_columns("req", "req/s") | _LATENCY | _END,
    "transfer": _load_columns("MB", "MB/s") | _END,
    "ping-pong": {
        **_load_columns("trip", "trips/s"),
        "CPU us/message": _median("message_us", ".2f"),
        **_LATENCY,
        **_END,
    },
    "handshakes": _load_columns("handshake", "handshakes/s") | _END,
    "idle": {
        "KB each": _median("kb_each", ".2f"),
        _RATIO: _ratio("kb_each"),
        "RSS MB": _median("rss_mb", ".1f"),
    },
    "attack": {
        "CPU ms": _median("cpu_ms", ".1f"),
        _RATIO: _ratio("cpu_ms"),
        "MB more": _median("growth_mb", ".2f"),
        "taken": _median("taken", ".0%"),
    },
    "start": {
        "ms to listening": _median("listening_ms", ".0f"),
        _RATIO: _ratio("listening_ms"),
        "RSS MB": _median("rss_mb", ".1f"),
    },
}


_OBSERVED: dict[str, Cell] = {
    f"{what} to {UNOBSERVED}": _ratio(figure, UNOBSERVED, ".3f")
    for what, figure in (("CPU", "cpu_us"), ("rate", "per_second"))
}


def report(cases: Sequence[Case]) -> str:
    """Return all tables, and their notes below."""
    tables = [
        (columns, [case for case in cases if case.scenario.kind == kind])
        for kind, columns in COLUMNS.items()
    ]
    tables.append((_OBSERVED, [case for case in cases if UNOBSERVED in case.samples]))
    parts = [
        _table(columns, [row for case in selected for row in _rows(case, columns)])
        for columns, selected in tables
        if selected
    ]
    notes = list(_notes(cases))
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts)


def _rows(case: Case, columns: dict[str, Cell]) -> Iterator[Sequence[str]]:
    for name in case.samples:
        cells = (cell(case, name) for cell in columns.values())
        yield (case.scenario.name, case.scenario.cores, name, *cells)


def _table(columns: dict[str, Cell], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of the columns in which some row has a value."""
    head = ("case", "cores", "proxy", *columns)
    shown = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return table([head[column] for column in shown], [[row[one] for one in shown] for row in rows])


def _notes(cases: Sequence[Case]) -> Iterator[str]:
    loads = [case for case in cases if case.scenario.kind in UNITS]
    if any(is_starved(case, name) for case in loads for name in case.samples):
        yield _STARVED
    yield from sorted({f"left out: {why}" for case in cases for why in case.absent.values()})
    for case in cases:
        for name, reason in case.failures.items():
            yield f"FAILED {case.scenario.title}, {name}: {reason}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a head and rows, aligned in columns."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(_line(line, widths) for line in lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column < _LEFT_ALIGNED else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
