"""Which targets are met, missed, or not measured."""

import pytest

from bench.load.programs import NEWER, OURS, PROXIES, PURE, RELAY
from bench.load.scenarios import LAYOUTS, Scenario, laid_out, load_scenarios
from bench.load.targets import CheckResult, Target, judge, load_targets, verdict_table
from tests.bench.results import SMALL, case_of, cpu

NAMES = ("get-small-c64",)
HALF = Target("cpu_us", NAMES, to=("newer", "older"), most=0.5)


def only(*results: CheckResult) -> CheckResult:
    """Return the one result."""
    (result,) = results
    return result


@pytest.mark.parametrize(
    ("ours", "word", "is_clear"),
    [
        ((4.0, 5.0, 5.0), "met", True),
        ((4.0, 5.0, 6.0), "met", False),
        ((5.0, 6.0, 7.0), "MISSED", False),
        ((6.0, 6.0, 7.0), "MISSED", True),
    ],
    ids=["met", "met by the median", "missed by the median", "missed"],
)
def test_the_median_of_the_rounds_decides(
    ours: tuple[float, ...], word: str, is_clear: bool
) -> None:
    case = case_of({OURS: cpu(*ours), "newer": cpu(10.0, 10.0, 10.0)})
    result = only(*judge([case], [HALF]))
    assert (result.word(), result.is_clear) == (word, is_clear)


def test_a_least_bound_is_met_from_there_on() -> None:
    target = Target("logged", NAMES, least=1.0)
    full, missing = ([{"logged": share}] for share in (1.0, 0.99))
    results = [only(*judge([case_of({OURS: rounds})], [target])) for rounds in (full, missing)]
    assert [result.word() for result in results] == ["met", "MISSED"]


def test_the_first_proxy_that_took_part_is_compared_with() -> None:
    both = case_of({OURS: cpu(4.0), "newer": cpu(10.0), "older": cpu(5.0)})
    older = case_of({OURS: cpu(4.0), "older": cpu(5.0)})
    results = [only(*judge([case], [HALF])) for case in (both, older)]
    assert [(result.to, result.word()) for result in results] == [
        ("newer", "met"),
        ("older", "MISSED"),
    ]


def test_a_target_is_for_its_cores() -> None:
    samples = {OURS: cpu(4.0), "newer": cpu(10.0)}
    same = Target("cpu_us", NAMES, cores=("same",), to=("newer",), most=0.5)
    cases = [case_of(samples, cores="two"), case_of(samples, cores="same")]
    assert [result.scenario.cores for result in judge(cases, [same])] == ["same"]


def test_another_scenario_is_compared_with_on_the_same_cores() -> None:
    target = Target("cpu_us", ("busy",), ("same", "two"), beside="get-small-c64", most=1.2)
    named = Scenario("busy", "requests")
    cases = [
        case_of({OURS: cpu(10.0)}, cores="two"),
        case_of({OURS: cpu(20.0)}, cores="same"),
        case_of({OURS: cpu(11.0)}, named, cores="two"),
        case_of({OURS: cpu(22.0)}, named, cores="same"),
    ]
    results = {result.scenario.cores: result for result in judge(cases, [target])}
    assert {cores: result.word() for cores, result in results.items()} == {
        "two": "met",
        "same": "met",
    }


def test_what_did_not_take_part_is_not_judged() -> None:
    assert list(judge([case_of({OURS: cpu(4.0)})], [HALF])) == []
    assert list(judge([case_of({"newer": cpu(4.0)})], [HALF])) == []


@pytest.mark.parametrize("lost", [OURS, "newer"])
def test_a_target_whose_proxy_failed_is_not_measured(lost: str) -> None:
    case = case_of({OURS: cpu(4.0), "newer": cpu(10.0)})
    case.fail(lost, "ended")
    result = only(*judge([case], [HALF]))
    assert (result.word(), result.is_met) == ("NOT MEASURED", False)


def test_the_table_has_a_row_for_each_result_and_counts_the_met() -> None:
    case = case_of({OURS: cpu(4.0, 4.0, 6.0), "newer": cpu(10.0, 10.0, 10.0)}, cores="same")
    targets = [
        Target("cpu_us", NAMES, cores=("same",), to=("newer",), most=0.5),
        Target("cpu_us", NAMES, cores=("same",), most=3),
    ]
    lines = verdict_table(list(judge([case], targets))).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "case cores proxy figure target measured",
        "get-small-c64 same cmux-proxy cpu_us to newer <= 0.5 0.40 (0.40..0.60) "
        "met, not in every round",
        "get-small-c64 same cmux-proxy cpu_us <= 3 4.00 (4.00..6.00) MISSED",
        "1 of 2 targets are met",
    ]


@pytest.mark.parametrize("target", load_targets(), ids=lambda target: f"{target.figure}")
def test_a_full_run_measures_each_target_of_the_file(target: Target) -> None:
    known = load_scenarios()
    assert (target.least is None) != (target.most is None)
    assert target.proxy in (OURS, PURE)
    assert set(target.to) <= PROXIES.keys()
    for name in target.scenarios:
        runs = {scenario.cores: scenario for scenario in laid_out(known[name], LAYOUTS)}
        assert set(target.cores) <= runs.keys()
        for cores in target.cores:
            proxies = [target.proxy, *target.to]
            assert all(PROXIES[proxy].can(runs[cores]) for proxy in proxies)
            assert all(PROXIES[proxy].is_default(runs[cores]) for proxy in proxies)
    assert target.beside is None or target.beside in known


def test_requests_and_tunnels_have_targets_on_both_cores_to_the_newer_haproxy() -> None:
    cores = {
        one
        for target in load_targets()
        if target.figure == "cpu_us" and target.to[:1] == (NEWER,)
        for one in target.cores
    }
    assert cores == set(LAYOUTS)
    to_relay = [target for target in load_targets() if target.to == (RELAY,)]
    assert {one for target in to_relay for one in target.cores} == set(LAYOUTS)
    assert all(target.scenarios == (SMALL.name,) for target in to_relay)
