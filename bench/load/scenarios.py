"""Reads scenarios.toml."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SCENARIOS = Path(__file__).with_name("scenarios.toml")

Kind = Literal["requests", "transfer", "ping-pong", "idle", "start"]
UNITS: dict[Kind, str] = {"requests": "request", "transfer": "MB", "ping-pong": "round trip"}


@dataclass(frozen=True)
class Scenario:
    """The requests or bytes of a scenario; `unique` names a field whose value always differs."""

    name: str
    kind: Kind
    mode: str = "http"
    connections: int = 1
    bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    unique: str | None = None

    @property
    def is_tunnel(self) -> bool:
        """Return whether the proxy forwards bytes instead of requests."""
        return self.mode == "tunnel"

    @property
    def path(self) -> str:
        """Return the path of the requests."""
        return f"/{self.bytes or ''}"


def load_scenarios(path: Path = SCENARIOS) -> dict[str, Scenario]:
    """Return all scenarios by name, in the order of the file."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    heads = data["heads"] | {None: {}}
    return {
        name: Scenario(name=name, fields=heads[entry.pop("head", None)], **entry)
        for name, entry in data["scenarios"].items()
    }
