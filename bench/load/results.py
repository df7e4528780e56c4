"""Saves a run as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.load.cases import Case
from bench.load.programs import MARK, NEWER, RELAY, UNOBSERVED
from bench.load.scenarios import UNITS
from bench.load.targets import CheckResult


def case_data(case: Case) -> dict[str, Any]:
    """Return the JSON data of a case: every sample, and the figures of the tables."""
    return {
        "scenario": asdict(case.scenario),
        "unit": UNITS.get(case.scenario.kind),
        "failures": case.failures,
        "absent": case.absent,
        "proxies": {name: _proxy_data(case, name) for name in case.samples},
    }


def _proxy_data(case: Case, name: str) -> dict[str, Any]:
    figures = {figure: case.spread(name, figure) for figure in case.figures(name)}
    return {
        "figures": {figure: asdict(spread) for figure, spread in figures.items() if spread},
        **{
            f"ratios_to_{mark}": _ratios(case, name, mark)
            for mark in (MARK, NEWER, RELAY, UNOBSERVED)
            if mark in case.samples
        },
        "samples": [
            {figure: round(value, 4) for figure, value in sample.items()}
            for sample in case.samples[name]
        ],
    }


def _ratios(case: Case, name: str, mark: str) -> dict[str, Any]:
    ratios = {figure: case.ratio(name, figure, mark) for figure in case.figures(name)}
    return {
        figure: asdict(spread)
        for figure, spread in ratios.items()
        if spread is not None and name != mark
    }


def verdict_data(verdicts: Sequence[CheckResult]) -> list[dict[str, Any]]:
    """Return the JSON data of the results of targets."""
    return [
        {
            "scenario": verdict.scenario.name,
            "cores": verdict.scenario.cores,
            "proxy": verdict.target.proxy,
            "figure": verdict.target.figure,
            "to": verdict.to,
            "beside": verdict.target.beside,
            "bound": verdict.target.bound(),
            "measured": asdict(verdict.spread) if verdict.spread else None,
            "met": verdict.is_met,
            "in_every_round": verdict.is_clear,
        }
        for verdict in verdicts
    ]


def save(folder: Path, data: dict[str, Any]) -> Path:
    """Write the JSON to a file named after its date and commit; return the path."""
    commit = data["commit"]
    mark = "-dirty" if commit["dirty"] else ""
    when = datetime.fromisoformat(data["date"])
    path = folder / f"{when:%Y-%m-%dT%H%M}-{commit['hash'][:7]}{mark}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path
