"""Reads scenarios.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

SCENARIOS = Path(__file__).with_name("scenarios.toml")


@dataclass(frozen=True)
class Scenario:
    """What is asked for, over how many connections; `unique` names a field that always differs."""

    name: str
    connections: int
    fields: dict[str, str]
    unique: str | None


def load_scenarios(path: Path = SCENARIOS) -> dict[str, Scenario]:
    """Return all scenarios by name, in the order of the file."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    heads = data["heads"]
    return {
        name: Scenario(name, entry["connections"], heads[entry["head"]], entry.get("unique"))
        for name, entry in data["scenarios"].items()
    }
