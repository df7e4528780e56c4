"""Descriptions of listening ports."""

import pytest

from cmux_proxy.machine.describe import describe_listener, describe_nearest_listener, describe_ports
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.machine.namespaces import Namespace, ServiceAddresses

HERE = ServiceAddresses(Namespace(), ("127.0.0.1", "::1"))
INSIDE = ServiceAddresses(Namespace(9, "a-1", "127.18.0.1"), ("127.0.0.1", "::1", "127.18.0.1"))


def listener(
    port: int = 80, address: str = "127.0.0.1", workspace: str | None = None
) -> ListeningPort:
    return ListeningPort(port, address, workspace, 12, "node x.js")


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (listener(), "127.0.0.1:80 (12, node x.js)"),
        (listener(address="::1"), "[::1]:80 (12, node x.js)"),
        (ListeningPort(80, "::", None, None, None), "[::]:80 (unknown process)"),
        (ListeningPort(80, "::", None, 12, None), "[::]:80 (12, unknown)"),
        (ListeningPort(80, "::", None, 12, "x" * 61), f"[::]:80 (12, {'x' * 57}...)"),
    ],
)
def test_a_listener_is_described_with_its_process(port: ListeningPort, text: str) -> None:
    assert describe_listener(port) == text


@pytest.mark.parametrize(
    ("service", "other", "remedy"),
    [
        (HERE, listener(81), None),
        (HERE, listener(80, "192.0.2.1"), "is not on 127.0.0.1 or ::1: have it listen there"),
        (HERE, listener(80, "127.0.0.1", "a-1"), "is in workspace a-1: --workspace a-1"),
        (HERE, listener(80, "127.18.0.7", "7"), "is in workspace 7: --workspace 7"),
        (INSIDE, listener(), "is outside the workspace: cmux-proxy run starts it inside"),
        (INSIDE, listener(80, "10.0.2.100", "a-1"), "have it listen there"),
    ],
)
def test_the_nearest_listener_is_described_with_a_remedy(
    service: ServiceAddresses, other: ListeningPort, remedy: str | None
) -> None:
    description = describe_nearest_listener(80, service, [listener(79), other])
    if remedy is None:
        assert description is None
    else:
        assert description is not None
        assert description.startswith(describe_listener(other))
        assert description.endswith(remedy)


def test_ports_are_listed_once_each_and_at_most_eight() -> None:
    assert describe_ports([]) == ""
    assert describe_ports([listener(3), listener(2), listener(3, "::1")]) == "2, 3"
    assert (
        describe_ports([listener(port) for port in range(1, 11)])
        == "1, 2, 3, 4, 5, 6, 7, 8 and 2 more"
    )
