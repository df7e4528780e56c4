"""The plan of a command line."""

import os

import pytest

from bench.load import options
from bench.load.options import parse, plan_from
from bench.load.processes import Cores
from bench.load.programs import MARK, OURS, PROXIES, Proxy
from bench.load.rounds import Plan

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="only Linux pins processes to cores"
)


@pytest.fixture(autouse=True)
def _everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "program", lambda name: name)
    monkeypatch.setattr(options, "find_program", lambda name: name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})


def plan(*arguments: str) -> Plan:
    """Return the plan of the arguments."""
    return plan_from(parse(arguments))


def titles(made: Plan) -> list[str]:
    """Return the titles of the scenarios of a plan."""
    return [scenario.title for scenario in made.scenarios]


def test_a_short_run_has_requests_on_two_cores_only() -> None:
    made = plan()
    assert made.proxies == [OURS, MARK]
    assert {(one.kind, one.cores) for one in made.scenarios} == {("requests", "two")}
    assert not [one.name for one in made.scenarios if one.logs or one.ports > 1]
    assert {made.rounds_of(one) for one in made.scenarios} == {5}


def test_a_short_run_has_neither_http2_nor_tls() -> None:
    made = plan()
    assert not [one.name for one in made.scenarios if one.is_http2 or one.is_tls]
    assert "get-small-c10" not in titles(made)
    assert titles(plan("--busy-poll")) == ["get-small-c1", "connect-pingpong-64b-c1"]
    assert {"get-small-c10", "get-small-h2-c1", "resets-h2-c2"} <= set(titles(plan("--full")))


@pytest.mark.parametrize(
    ("program", "left_out", "kept"),
    [
        ("h2load", ["get-small-h2-c1", "get-1g-h2-c1"], ["resets-h2-c2", "idle-tls-c2000"]),
        ("openssl", ["get-small-tls-c64", "idle-tls-c2000"], ["get-small-h2-c1"]),
        ("cc", ["get-1g-h2-c1", "idle-h2-c2000"], ["get-small-h2-c1", "handshake-tls-c1"]),
    ],
)
def test_what_needs_a_missing_program_is_left_out(
    program: str, left_out: list[str], kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "find_program", lambda name: None if name == program else name)
    found = set(titles(plan("--full")))
    assert found.isdisjoint(left_out)
    assert set(kept) <= found


def test_a_full_run_has_all_scenarios_and_both_layouts() -> None:
    made = plan("--full")
    assert {"get-small-c64", "get-small-c64, same core", "start"} <= set(titles(made))
    assert "start, same core" not in titles(made)
    assert made.proxies == [name for name, one in PROXIES.items() if one.variant is None]


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ("same", ["get-small-c64, same core"]),
        ("two", ["get-small-c64"]),
        ("both", ["get-small-c64, same core", "get-small-c64"]),
    ],
)
def test_cores_choose_the_layouts(cores: str, expected: list[str]) -> None:
    assert titles(plan("--scenario", "get-small-c64", "--cores", cores)) == expected


def test_with_one_core_there_is_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert titles(plan("--full", "--scenario", "get-small-c64")) == ["get-small-c64, same core"]


def test_a_scenario_has_its_rounds_in_a_full_run_unless_the_command_has_some() -> None:
    runs = [plan("--full"), plan("--full", "--rounds", "2"), plan("--rounds", "2"), plan()]
    small = [made.scenarios[0] for made in runs]
    rounds = [made.rounds_of(one) for made, one in zip(runs, small, strict=True)]
    assert rounds == [15, 2, 2, 5]


def test_a_run_lasts_as_long_as_its_scenario_needs() -> None:
    made = plan("--full", "--seconds", "2")
    by_name = {one.name: made.seconds_of(one) for one in made.scenarios}
    assert (by_name["get-small-c64"], by_name["get-small-c5000"]) == (2, 3)


def test_the_load_runs_on_the_core_of_the_proxy_or_on_the_others() -> None:
    made = plan("--scenario", "get-small-c64", "--cores", "both")
    same, two = (made.cores_of(one) for one in made.scenarios)
    assert same == Cores(frozenset({0}), frozenset({0}))
    assert two == Cores(frozenset({0}), frozenset({1}))


def test_named_proxies_take_part_everywhere() -> None:
    wanted = ("--full", "--scenario", "get-small-c64", "--cores", "same")
    full, named = plan(*wanted), plan(*wanted, "--proxy", "nginx")
    (scenario,) = full.scenarios
    assert "nginx" not in full.proxies_of(scenario)
    assert named.proxies_of(scenario) == ["nginx"]


@pytest.mark.parametrize("first", [(), ("--full",)], ids=["short", "full"])
def test_loops_add_their_variants(first: tuple[str, ...]) -> None:
    loops = [name for name, one in PROXIES.items() if one.variant == "loops"]
    assert plan(*first, "--loops").proxies[: len(loops) + 1] == [OURS, *loops]


def test_another_event_loop_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    more: Proxy = PROXIES[f"{OURS}-asyncio"]
    monkeypatch.setitem(PROXIES, f"{OURS}-other", more)
    assert f"{OURS}-other" in plan("--loops").proxies


@pytest.mark.parametrize("option", ["--rounds", "--seconds", "--starts"])
def test_a_number_below_one_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([option, "0"])
    assert "needs at least 1" in capsys.readouterr().err
