"""Instructions of requests, counted by valgrind."""

import sys

import pytest

from bench.instructions import CASES, Case, count, total_of
from bench.load.processes import BenchError
from tests.helpers.tools import tool


def test_the_sum_of_a_file_is_its_total() -> None:
    assert total_of("events: Ir\n\nfn=(1)\n1 7\ntotals: 123\n") == 123
    with pytest.raises(BenchError, match="no total"):
        total_of("events: Ir\n")


def test_an_interpreter_without_the_proxy_is_an_error() -> None:
    tool("valgrind")
    with pytest.raises(BenchError, match="is cmux-proxy in that environment"):
        count("false", Case())


@pytest.mark.slow
def test_a_longer_head_takes_more_instructions() -> None:
    tool("valgrind")
    small, large = (count(sys.executable, Case("A: b\r\n" * lines)) for lines in (0, 50))
    assert 1000 < small < large


@pytest.mark.slow
def test_a_message_takes_fewer_instructions_and_a_connection_of_its_own_more() -> None:
    tool("valgrind")
    message, request, connection = (
        count(sys.executable, CASES[name]) for name in ("tunnel-64b", "small-c1", "close-c1")
    )
    assert 500 < message < request < connection
