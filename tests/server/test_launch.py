"""`run`: the processes it starts, and what it refuses before."""

import pytest

from cmux_proxy import Config, ConfigError, ListenError, run
from cmux_proxy.server import launch, worker_group
from cmux_proxy.server.worker import OnStart
from tests.helpers.proxies import local_config


@pytest.fixture(autouse=True)
def same_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not raise the descriptor limit of the test process."""
    monkeypatch.setattr(launch, "raise_descriptor_limit", lambda: None)


def test_one_worker_runs_in_this_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Config, OnStart | None]] = []

    def single(config: Config, _signals: object, on_start: OnStart | None, _admin: object) -> None:
        calls.append((config, on_start))

    monkeypatch.setattr(launch, "run_single", single)
    assert run() == 0
    assert run(Config(workers=1), print) == 0
    assert calls == [(Config(), None), (Config(), print)]


def test_an_address_that_cannot_be_bound_is_an_error() -> None:
    with pytest.raises(ListenError):
        run(local_config(listen=["192.0.2.1:0"], workers=2))


def test_an_event_loop_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_config: Config) -> None:
        raise ConfigError("loop", "no")

    monkeypatch.setattr(worker_group, "choose_loop", fail)
    with pytest.raises(ConfigError):
        run(local_config(workers=2))
