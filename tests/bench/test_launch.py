"""What the programs of a benchmark are started with."""

import os
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from bench.load import launch, run
from bench.load.options import parse, plan_from
from bench.load.processes import Cores, free_port
from bench.load.programs import OURS
from cmux_proxy._build import __version__, best_loop, build_name
from tests.bench.results import SMALL, case_of, cpu


def test_the_ports_of_an_upstream_are_different() -> None:
    # The kernel may hand out a port again that nothing listens on yet.
    with mock.patch.object(launch, "free_ports", lambda count: list(range(7, 7 + count))):
        assert launch.another_port([7, 8]) == 9
        assert launch.another_port([20, 8]) == 7
        assert launch.another_port([]) == 7


def test_the_loop_that_a_proxy_says_it_runs_on_is_printed_and_saved(tmp_path: Path) -> None:
    case = case_of({OURS: cpu(10.0)})
    with launch.start_proxy(OURS, SMALL, free_port(), Cores.available(), tmp_path) as proxy:
        while not (line := proxy.start_line()):
            # It is printed once everything listens.
            proxy.check()
            os.sched_yield()
    case.prints[OURS] = line
    assert line == f"cmux-proxy {__version__} ({build_name()}, {best_loop()})"
    plan = plan_from(parse(["--scenario", SMALL.name, "--proxy", OURS]))
    data = run.result_data(plan, [case], [], datetime.now(UTC))
    assert data["prints"] == {OURS: line}
    assert f"{OURS}: {line}" in run._summary(plan, data, [case]).splitlines()
