"""What the limit on descriptors allows."""

import resource

import pytest

from cmux_proxy import ListenError
from cmux_proxy.server.connection_limits import (
    admin_connections,
    budget,
    check_limit,
    raise_limit,
    set_aside_for_admin,
)


@pytest.mark.parametrize(
    ("descriptors", "clients", "upstreams", "bursts"),
    [
        (20_000, 8000, 8000, True),
        (10_240, 4096, 4096, True),
        (10_239, 4095.6, 4095, False),
        (1024, 409.6, 409, False),
        (64, 20, 20, False),
        (20, 1, 1, False),
    ],
)
def test_clients_and_their_upstreams_fit(
    descriptors: int, clients: float, upstreams: int, bursts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    allowed = budget()
    assert allowed.clients == pytest.approx(clients)
    assert (allowed.upstreams, allowed.bursts) == (upstreams, bursts)


@pytest.mark.parametrize(
    ("descriptors", "listener", "alone", "worker"),
    [
        (resource.RLIM_INFINITY, 64, 64, 16), (65_536, 64, 64, 16), (256, 64, 64, 16),
        (64, 16, 16, 16), (32, 8, 8, 8), (4, 2, 2, 2),
    ],
)  # fmt: skip
def test_the_admin_listener_has_a_share(
    descriptors: int, listener: int, alone: int, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    assert admin_connections() == listener
    assert (set_aside_for_admin(1), set_aside_for_admin(4)) == (alone, worker)


def test_what_is_set_aside_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024 + 64, 1024 + 64))
    with_admin = budget(aside=64)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1024))
    assert with_admin == budget()


@pytest.mark.parametrize("descriptors", [3, 8, 31])
def test_with_too_few_descriptors_it_does_not_begin(
    descriptors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    with pytest.raises(ListenError) as caught:
        check_limit("127.0.0.1:80")
    reason = f"only {descriptors} open files are allowed (ulimit -n), and 32 are needed"
    assert str(caught.value) == f"cannot listen on 127.0.0.1:80: {reason}"


@pytest.mark.parametrize("descriptors", [32, 65_536, resource.RLIM_INFINITY])
def test_with_enough_descriptors_it_does(descriptors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    check_limit("127.0.0.1:80")


def test_without_a_limit_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: unlimited)
    assert budget() == (float("inf"), None, True)


def test_a_limit_that_may_not_be_asked_for_is_taken_to_be_the_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "getrlimit", refuses)
    monkeypatch.setattr(resource, "setrlimit", refuses)
    raise_limit()
    allowed = budget()
    assert allowed.clients == pytest.approx(409.6)
    assert allowed.upstreams == 409


@pytest.mark.parametrize(
    ("limits", "raised"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 1_000_000), (65536, 1_000_000)),
        ((1024, resource.RLIM_INFINITY), (65536, resource.RLIM_INFINITY)),
        ((100_000, 1_000_000), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
        ((64, 64), None),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_goes(
    limits: tuple[int, int], raised: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, new: seen.append(new))
    raise_limit()
    assert seen == ([] if raised is None else [raised])


def test_a_system_that_refuses_keeps_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_which: int, _limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1_000_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, 1_000_000)
