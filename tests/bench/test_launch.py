"""What the programs of a benchmark are started with."""

from unittest import mock

from bench.load import launch


def test_the_ports_of_an_upstream_are_different() -> None:
    # The kernel may hand out a port again that nothing listens on yet.
    with mock.patch.object(launch, "free_ports", lambda count: list(range(7, 7 + count))):
        assert launch.another_port([7, 8]) == 9
        assert launch.another_port([20, 8]) == 7
        assert launch.another_port([]) == 7
