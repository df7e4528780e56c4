"""The scenarios of the file, and the cores on which they run."""

from pathlib import Path

import pytest

from bench.load.scenarios import LAYOUTS, laid_out, load_scenarios

FILE = """
[heads.small]
A = "1"

[scenarios.one]
kind = "requests"
head = "small"
connections = 2
ports = 3
logs = "json"
rounds = 4
seconds = 5
is_on_both = true

[scenarios.other]
kind = "transfer"
mode = "tunnel"
bytes = 10
"""


def test_a_scenario_has_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.toml"
    path.write_text(FILE)
    one, other = load_scenarios(path).values()
    assert (one.name, one.fields, one.ports, one.logs) == ("one", {"A": "1"}, 3, "json")
    assert (one.rounds, one.seconds, one.is_tunnel, one.path) == (4, 5, False, "/")
    assert (other.fields, other.ports, other.logs, other.rounds) == ({}, 1, None, None)
    assert (other.is_tunnel, other.path, other.cores) == (True, "/10", "two")


def test_only_a_scenario_for_both_runs_twice(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.toml"
    path.write_text(FILE)
    one, other = load_scenarios(path).values()
    assert [run.title for run in laid_out(one, LAYOUTS)] == ["one, same core", "one"]
    assert [run.title for run in laid_out(other, LAYOUTS)] == ["other"]
    assert [run.title for run in laid_out(other, ["same"])] == ["other, same core"]


@pytest.mark.parametrize("name", load_scenarios())
def test_a_name_has_the_connections_and_the_upstreams(name: str) -> None:
    scenario = load_scenarios()[name]
    parts = name.split("-")
    if scenario.kind != "start":
        assert parts[-1] == f"c{scenario.connections}"
    assert (f"p{scenario.ports}" in parts) == (scenario.ports > 1)
    assert (f"s{scenario.streams}" in parts) == (scenario.streams > 1)
    assert ("h2" in parts, "tls" in parts) == (scenario.is_http2, scenario.is_tls)
    assert ("logged" in parts) == (scenario.logs is not None)
