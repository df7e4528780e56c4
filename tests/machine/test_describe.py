"""What listens, in words."""

import pytest

from cmux_proxy.machine.describe import near_miss, ports_told, told
from cmux_proxy.machine.listening import Listening
from cmux_proxy.machine.namespaces import Place, Space

HERE = Place(Space(), ("127.0.0.1", "::1"))
INSIDE = Place(Space(9, "a-1", "127.18.0.1"), ("127.0.0.1", "::1", "127.18.0.1"))


def one(port: int = 80, address: str = "127.0.0.1", workspace: str | None = None) -> Listening:
    return Listening(port, address, workspace, 12, "node x.js")


@pytest.mark.parametrize(
    ("each", "text"),
    [
        (one(), "127.0.0.1:80 (12, node x.js)"),
        (one(address="::1"), "[::1]:80 (12, node x.js)"),
        (Listening(80, "::", None, None, None), "[::]:80 (unknown process)"),
        (Listening(80, "::", None, 12, None), "[::]:80 (12, unknown)"),
        (Listening(80, "::", None, 12, "x" * 61), f"[::]:80 (12, {'x' * 57}...)"),
    ],
)
def test_each_is_told_with_its_process(each: Listening, text: str) -> None:
    assert told(each) == text


@pytest.mark.parametrize(
    ("place", "each", "helps"),
    [
        (HERE, one(81), None),
        (HERE, one(80, "192.0.2.1"), "is not on 127.0.0.1 or ::1: have it listen there"),
        (HERE, one(80, "127.0.0.1", "a-1"), "is in workspace a-1: --workspace a-1"),
        (HERE, one(80, "127.18.0.7", "7"), "is in workspace 7: --workspace 7"),
        (INSIDE, one(), "is outside the workspace: cmux-proxy run starts it inside"),
        (INSIDE, one(80, "10.0.2.100", "a-1"), "have it listen there"),
    ],
)
def test_a_near_miss_is_told_with_what_helps(
    place: Place, each: Listening, helps: str | None
) -> None:
    found = near_miss(80, place, [one(79), each])
    if helps is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(told(each))
        assert found.endswith(helps)


def test_ports_are_told_each_once_and_not_too_many() -> None:
    assert ports_told([]) == ""
    assert ports_told([one(3), one(2), one(3, "::1")]) == "2, 3"
    assert ports_told([one(port) for port in range(1, 11)]) == "1, 2, 3, 4, 5, 6, 7, 8 and 2 more"
