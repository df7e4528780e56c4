"""The command of h2load, and what is read of its output."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import h2load
from bench.load.h2load import h2load_command, h2load_counts
from bench.load.loads import Load
from bench.load.processes import Cores
from bench.load.scenarios import Scenario, load_scenarios

SCENARIOS = load_scenarios()
SMALL = SCENARIOS["get-small-h2-s100-c8"]
DOWNLOAD, UPLOAD = SCENARIOS["get-1g-h2-c1"], SCENARIOS["post-100m-h2-c1"]
OUTPUT = """
finished in {duration}, 1000.00 req/s, 78.19KB/s
requests: 1009 total, 1008 started, 1007 done, 1000 succeeded, {failed} failed, 9 errored, 1 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 78.19KB (80066) total, 47.85KB (49000) headers (space savings 50.51%), 9.7MB ({data}) data
                     min         max         mean         sd        +/- sd
"""


def output(duration: str = "2.00s", failed: int = 0, data: int = 13_000) -> str:
    """Return what h2load prints."""
    return OUTPUT.format(duration=duration, failed=failed, data=data)


def command(scenario: Scenario, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command of a scenario, of two seconds."""
    monkeypatch.setattr(h2load, "program", lambda name: name)
    cores = Cores(frozenset(), frozenset())
    return h2load_command(Load(scenario, 2001, 2, cores, directory), 8080)


@pytest.mark.parametrize(
    ("duration", "microseconds"), [("2.50s", 2_500_000), ("591.5ms", 591_500), ("614us", 614)]
)
def test_requests_are_counted(duration: str, microseconds: float) -> None:
    counts = h2load_counts(output(duration, failed=9), SMALL)
    assert counts == {"count": 1000, "microseconds": microseconds, "failed_requests": 9}


def test_a_transfer_is_counted_in_megabytes() -> None:
    one = output().replace("1000 succeeded", "1 succeeded")
    assert h2load_counts(one, UPLOAD)["count"] == 100
    whole = one.replace("(13000) data", "(1000000000) data")
    assert h2load_counts(whole, DOWNLOAD)["count"] == 1000


@pytest.mark.parametrize("data", [0, 99_999_999])
def test_responses_have_all_of_their_bytes(data: int) -> None:
    large = replace(SMALL, bytes=100_000)
    assert h2load_counts(output(data=100_000_000), large)["count"] == 1000
    with pytest.raises(ValueError, match="bytes are missing"):
        h2load_counts(output(data=data), large)


def test_other_output_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the output"):
        h2load_counts("Could not resolve the host", SMALL)


def test_requests_last_as_long_as_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(SMALL, tmp_path, monkeypatch) == [
        "h2load", "--threads", "1", "--clients", "8", "--max-concurrent-streams", "100",
        "--duration", "2", "--header", "x-cmux-port-internal: 2001", "http://127.0.0.1:8080/",
    ]  # fmt: skip


def test_a_transfer_is_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    down = command(DOWNLOAD, tmp_path, monkeypatch)
    assert down[down.index("--requests") + 1] == "1"
    assert down[-1] == "http://127.0.0.1:8080/1000000000"
    assert "--data" not in down
    up = command(UPLOAD, tmp_path, monkeypatch)
    assert Path(up[up.index("--data") + 1]).stat().st_size == 100_000_000
    assert up[-1] == "http://127.0.0.1:8080/"
