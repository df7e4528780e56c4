"""Connection limits that follow from the limit on descriptors."""

import resource

import pytest

from cmux_proxy import ListenError
from cmux_proxy.relay.stream_budget import UNLIMITED
from cmux_proxy.server.connection_limits import (
    check_descriptor_limit,
    connection_limits,
    max_admin_connections,
    raise_descriptor_limit,
    reserved_for_admin,
)


@pytest.mark.parametrize(
    ("descriptors", "max_clients", "max_upstreams", "accepts_bursts"),
    [
        (20_000, 8000, 8000, True),
        (10_240, 4096, 4096, True),
        (10_239, 4095, 4095, False),
        (1024, 409, 409, False),
        (64, 20, 20, False),
        (20, 1, 1, False),
    ],
)
def test_clients_and_their_upstreams_fit(
    descriptors: int,
    max_clients: int,
    max_upstreams: int,
    accepts_bursts: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    limits = connection_limits()
    assert limits == (max_clients, max_upstreams, max_upstreams, accepts_bursts)


@pytest.mark.parametrize(
    ("descriptors", "connections", "single", "one_of_several"),
    [
        (resource.RLIM_INFINITY, 64, 64, 16), (65_536, 64, 64, 16), (256, 64, 64, 16),
        (64, 16, 16, 16), (32, 8, 8, 8), (4, 2, 2, 2),
    ],
)  # fmt: skip
def test_the_admin_listener_has_a_share(
    descriptors: int,
    connections: int,
    single: int,
    one_of_several: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    assert max_admin_connections() == connections
    assert (reserved_for_admin(1), reserved_for_admin(4)) == (single, one_of_several)


def test_reserved_descriptors_are_not_used_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024 + 64, 1024 + 64))
    with_admin = connection_limits(reserved=64)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1024))
    assert with_admin == connection_limits()


@pytest.mark.parametrize("descriptors", [3, 8, 31])
def test_too_few_descriptors_are_refused(descriptors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    with pytest.raises(ListenError) as caught:
        check_descriptor_limit("127.0.0.1:80")
    reason = f"only {descriptors} open files are allowed (ulimit -n), and 32 are needed"
    assert str(caught.value) == f"cannot listen on 127.0.0.1:80: {reason}"


@pytest.mark.parametrize("descriptors", [32, 65_536, resource.RLIM_INFINITY])
def test_enough_descriptors_are_accepted(descriptors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    check_descriptor_limit("127.0.0.1:80")


def test_without_a_descriptor_limit_connections_are_unlimited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: unlimited)
    assert connection_limits() == (UNLIMITED, None, UNLIMITED, True)


def test_the_usual_limit_is_assumed_where_the_limit_may_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "getrlimit", refuse)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
    limits = connection_limits()
    assert limits.max_clients == 409
    assert limits.max_upstreams == 409


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
def test_the_soft_limit_is_raised_as_far_as_possible(
    limits: tuple[int, int], raised: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, new: calls.append(new))
    raise_descriptor_limit()
    assert calls == ([] if raised is None else [raised])


def test_the_limit_stays_where_the_system_refuses_to_raise_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_which: int, _limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1_000_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, 1_000_000)
