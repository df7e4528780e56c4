"""What the programs of a benchmark are started with."""

import os
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from bench.load import launch, run
from bench.load.options import parse, plan_from
from bench.load.processes import Cores, free_port
from bench.load.programs import OURS
from cmux_proxy._build import HAS_NATIVE, __version__, build_name
from cmux_proxy.server.event_loops import io_name
from tests.bench.results import SMALL, case_of, cpu


def test_the_ports_of_an_upstream_are_different() -> None:
    # The kernel may hand out a port again that nothing listens on yet.
    with mock.patch.object(launch, "free_ports", lambda count: list(range(7, 7 + count))):
        assert launch.another_port([7, 8]) == 9
        assert launch.another_port([20, 8]) == 7
        assert launch.another_port([]) == 7


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        (OURS, "native" if HAS_NATIVE else "uvloop"),
        (f"{OURS}-uvloop", io_name("uvloop", HAS_NATIVE)),
        (f"{OURS}-asyncio", io_name("asyncio", HAS_NATIVE)),
    ],
)
def test_the_loop_that_a_proxy_says_it_runs_on_is_printed_and_saved(
    name: str, loop: str, tmp_path: Path
) -> None:
    case = case_of({name: cpu(10.0)})
    with launch.start_proxy(name, SMALL, free_port(), Cores.available(), tmp_path) as proxy:
        while not (line := proxy.start_line()):
            # It is printed once everything listens.
            proxy.check()
            os.sched_yield()
    case.prints[name] = line
    assert line == f"cmux-proxy {__version__} ({build_name()}, {loop})"
    plan = plan_from(parse(["--scenario", SMALL.name, "--proxy", name]))
    data = run.result_data(plan, [case], [], datetime.now(UTC))
    assert data["prints"] == {name: line}
    assert f"{name}: {line}" in run._summary(plan, data, [case]).splitlines()
