"""What `run` starts, and what it refuses before it starts anything."""

import pytest

from cmux_proxy import Config, ConfigError, ListenError, run
from cmux_proxy.server import launch
from cmux_proxy.server.worker import OnStart
from tests.helpers.proxies import local_config


@pytest.fixture(autouse=True)
def same_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the limit on descriptors of the tests themselves as it is."""
    monkeypatch.setattr(launch, "raise_limit", lambda: None)


def test_one_worker_is_this_process_and_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Config, OnStart | None]] = []

    def alone(config: Config, _signals: object, on_start: OnStart | None, _admin: object) -> None:
        given.append((config, on_start))

    monkeypatch.setattr(launch, "run_alone", alone)
    assert run() == 0
    assert run(Config(workers=1), print) == 0
    assert given == [(Config(), None), (Config(), print)]


def test_an_address_that_cannot_be_bound_is_an_error_of_the_caller() -> None:
    with pytest.raises(ListenError):
        run(local_config(listen=["192.0.2.1:0"], workers=2))


def test_a_loop_that_is_not_there_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ConfigError("loop", "no")

    monkeypatch.setattr(launch, "loop_factory", missing)
    with pytest.raises(ConfigError):
        run(local_config(workers=2))
