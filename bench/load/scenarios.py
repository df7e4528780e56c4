"""Reads scenarios.toml."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

SCENARIOS = Path(__file__).with_name("scenarios.toml")

Kind = Literal["requests", "transfer", "ping-pong", "handshakes", "idle", "attack", "start"]
UNITS: dict[Kind, str] = {
    "requests": "request",
    "transfer": "MB",
    "ping-pong": "round trip",
    "handshakes": "handshake",
}
_OF_STREAM_C: Sequence[Kind] = ("transfer", "ping-pong", "idle")
# Where the load and the upstream run: on the core of the proxy, or on all others.
Layout = Literal["same", "two"]
LAYOUTS: Sequence[Layout] = ("same", "two")
LogFormat = Literal["text", "json"]


@dataclass(frozen=True)
class Scenario:
    """The requests or bytes of a scenario; `unique` names a field whose value always differs.

    `ports` is the number of upstreams, `logs` the format of a log of all requests, `seconds` the
    least time of a run, and `rounds` how often a full run measures it. Only a scenario that
    `is_wide` is measured with all proxies, and one that `is_on_both` in both layouts, unless the
    command says so.

    Over HTTP/2 (`is_http2`), a connection has `streams` requests at a time. A short run leaves out
    what `is_full_only`.
    """

    name: str
    kind: Kind
    mode: str = "http"
    connections: int = 1
    bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    unique: str | None = None
    ports: int = 1
    logs: LogFormat | None = None
    rounds: int | None = None
    seconds: int = 1
    is_wide: bool = False
    is_on_both: bool = False
    is_full_only: bool = False
    is_http2: bool = False
    is_tls: bool = False
    streams: int = 1
    cores: Layout = "two"

    @property
    def title(self) -> str:
        """Return the name, and where the load runs if it is not on another core."""
        return f"{self.name}, same core" if self.cores == "same" else self.name

    @property
    def is_tunnel(self) -> bool:
        """Return whether the proxy forwards bytes instead of requests."""
        return self.mode == "tunnel"

    @property
    def has_stream_upstream(self) -> bool:
        """Return whether the upstream is stream.c."""
        return self.kind in _OF_STREAM_C

    @property
    def scheme(self) -> str:
        """Return the scheme of the requests."""
        return "https" if self.is_tls else "http"

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


def laid_out(scenario: Scenario, layouts: Sequence[Layout]) -> list[Scenario]:
    """Return the scenario in each of the layouts; in both only if it is meant for both."""
    if len(layouts) > 1 and not scenario.is_on_both:
        return [scenario]
    return [replace(scenario, cores=layout) for layout in layouts]
