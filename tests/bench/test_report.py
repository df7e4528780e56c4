"""The tables of a run."""

from bench.load.programs import MARK, NEWER, OURS, RELAY
from bench.load.report import report
from bench.load.results import case_data
from bench.load.scenarios import load_scenarios
from tests.bench.results import case_of, cpu


def rows(text: str) -> list[list[str]]:
    """Return the words of the lines."""
    return [line.split() for line in text.splitlines()]


def test_a_row_names_the_cores() -> None:
    cases = [case_of({OURS: cpu(8.0)}, cores="same"), case_of({OURS: cpu(9.0)}, cores="two")]
    assert rows(report(cases)) == [
        ["case", "cores", "proxy", "CPU", "us/req"],
        ["get-small-c64", "same", OURS, "8.0"],
        ["get-small-c64", "two", OURS, "9.0"],
    ]


def test_cpu_time_is_compared_with_each_haproxy_and_the_relay() -> None:
    case = case_of({OURS: cpu(8.0), MARK: cpu(10.0), NEWER: cpu(16.0), RELAY: cpu(4.0)})
    head, first = report([case]).splitlines()[:2]
    for mark in (MARK, NEWER, RELAY):
        assert f"CPU to {mark}" in head
    for ratio in ("0.80", "0.50", "2.00"):
        assert f"{ratio} ({ratio}..{ratio})" in first


def test_sleeps_messages_and_logged_lines_have_columns() -> None:
    sample = {"cpu_us": 8.0, "message_us": 4.0, "sleeps": 0.125, "logged": 0.5}
    scenario = load_scenarios()["connect-pingpong-64b-c32"]
    text = report([case_of({OURS: [sample]}, scenario)])
    assert rows(text)[1] == [scenario.name, "two", OURS, "8.0", "0.125", "4.00", "50.0%"]


def test_an_attack_has_its_cost_and_what_was_taken() -> None:
    resets = {"cpu_ms": 150.0, "growth_mb": 1.25, "taken": 0.5}
    bomb = {"cpu_ms": 2.0, "growth_mb": 0.5}
    scenarios = load_scenarios()
    cases = [
        case_of({OURS: [resets]}, scenarios["resets-h2-c2"]),
        case_of({OURS: [bomb]}, scenarios["bomb-h2-c100"]),
    ]
    assert rows(report(cases))[1:] == [
        ["resets-h2-c2", "two", OURS, "150.0", "1.25", "50%"],
        ["bomb-h2-c100", "two", OURS, "2.0", "0.50"],
    ]


def test_a_proxy_that_shares_its_core_is_not_starved() -> None:
    sample = {"cpu_us": 8.0, "core": 0.5}
    same = report([case_of({OURS: [sample]}, cores="same")])
    two = report([case_of({OURS: [sample]}, cores="two")])
    assert "50%*" in two
    assert "50%" in same
    assert "*" not in same


def test_a_failure_names_the_cores() -> None:
    case = case_of({OURS: cpu(8.0)}, cores="same")
    case.fail(MARK, "ended with status 1")
    assert "FAILED get-small-c64, same core, haproxy: ended with status 1" in report([case])


def test_the_json_of_a_case_has_its_cores_and_the_ratios() -> None:
    data = case_data(case_of({OURS: cpu(8.0), NEWER: cpu(16.0)}, cores="same"))
    ours = data["proxies"][OURS]
    assert data["scenario"]["cores"] == "same"
    assert ours[f"ratios_to_{NEWER}"]["cpu_us"]["median"] == 0.5
    assert ours["samples"] == [{"cpu_us": 8.0}]
    assert f"ratios_to_{RELAY}" not in ours
