"""Allows coroutines as tests, on one loop only: the programs they start choose their own loop."""

import inspect

import pytest

from tests.helpers.loops import LOOPS, pytest_pyfunc_call
from tests.helpers.workspaces import prefix, registry

__all__ = ["pytest_generate_tests", "pytest_pyfunc_call", "registry", "prefix"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give coroutines one event loop."""
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("loop_name")
        metafunc.parametrize("loop_name", LOOPS[:1])
